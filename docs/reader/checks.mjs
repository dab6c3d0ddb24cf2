// The error for whatever is not as docs/bundle.md says, and what raises it.

/** A bundle that is not what docs/bundle.md says. */
export class BundleError extends Error {}

/** Throws BundleError with `message` unless `condition` holds. */
export function check(condition, message) {
  if (!condition) throw new BundleError(message);
}

/** Parses a file's bytes as JSON in UTF-8; throws BundleError. */
export function parseJson(bytes, path) {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new BundleError(`${path} is not JSON: ${error.message}`);
  }
}
