// Decodes the PNG files of golden vectors: 8-bit RGB, not interlaced. Anything else is refused.

import { crc32 as zlibCrc32, inflateSync } from 'node:zlib';
import { check } from './checks.mjs';

const SIGNATURE = '89504e470d0a1a0a';
const CHANNELS = 3;
const MAX_PIXELS = 100_000_000;

/** PNG bytes → {width, height, data}, data being RGB bytes row by row. Throws BundleError. */
export function decodePng(bytes, path) {
  const chunks = readChunks(bytes, path);
  const header = chunks.find(({ type }) => type === 'IHDR')?.data;
  check(header?.length === 13, `${path}: no PNG header`);
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  check(header.subarray(8).toString('hex') === '0802000000', `${path}: not 8-bit RGB without interlacing`);
  check(width > 0 && height > 0 && width * height <= MAX_PIXELS, `${path}: ${width}×${height} pixels`);
  const packed = Buffer.concat(chunks.filter(({ type }) => type === 'IDAT').map(({ data }) => data));
  const stride = width * CHANNELS;
  const raw = inflate(packed, (stride + 1) * height, path);
  return { width, height, data: unfilter(raw, stride, height, path) };
}

function readChunks(bytes, path) {
  check(bytes.subarray(0, 8).toString('hex') === SIGNATURE, `${path}: no PNG signature`);
  const chunks = [];
  for (let at = 8; at < bytes.length; ) {
    check(at + 12 <= bytes.length, `${path}: cut short`);
    const end = at + 8 + bytes.readUInt32BE(at);
    check(end + 4 <= bytes.length, `${path}: cut short`);
    // zlib.crc32 came with Node 20.15; without it the bundle's sha256 has to do
    const sound = !zlibCrc32 || zlibCrc32(bytes.subarray(at + 4, end)) === bytes.readUInt32BE(end);
    check(sound, `${path}: a chunk with a wrong checksum`);
    chunks.push({ type: bytes.toString('latin1', at + 4, at + 8), data: bytes.subarray(at + 8, end) });
    at = end + 4;
  }
  return chunks;
}

function inflate(packed, size, path) {
  let raw;
  try {
    raw = inflateSync(packed, { maxOutputLength: size });
  } catch (error) {
    check(false, `${path}: ${error.message}`);
  }
  check(raw.length === size, `${path}: ${raw.length} bytes of pixels; ${size} belong`);
  return raw;
}

/** Undoes the filter that the first byte of each row names. */
function unfilter(raw, stride, height, path) {
  const data = new Uint8Array(stride * height);
  for (let row = 0; row < height; row++) {
    const filter = raw[row * (stride + 1)];
    check(filter <= 4, `${path}: row filter ${filter}`);
    for (let at = 0; at < stride; at++) {
      const left = at >= CHANNELS ? data[row * stride + at - CHANNELS] : 0;
      const above = row > 0 ? data[(row - 1) * stride + at] : 0;
      const corner = at >= CHANNELS && row > 0 ? data[(row - 1) * stride + at - CHANNELS] : 0;
      data[row * stride + at] = raw[row * (stride + 1) + 1 + at] + predicted(filter, left, above, corner);
    }
  }
  return data;
}

function predicted(filter, left, above, corner) {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return above;
  if (filter === 3) return (left + above) >> 1;
  const estimate = left + above - corner;
  const [toLeft, toAbove, toCorner] = [left, above, corner].map((value) => Math.abs(estimate - value));
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}
