"""Whether the bundle that decides is still the one on disk, asked again when a verdict is about to be given.

Not in the paper. A model runs from memory, so a session would go on after its bundle was removed or exchanged, and its
verdict would name a bundle that nobody can look at any more. What is read again is what decides, the manifest with its
thresholds and the files of the artifact that runs: a megabyte, a few milliseconds of the time after the flash.
"""

from __future__ import annotations

from sdk_reference.bundle import MANIFEST_NAME, Bundle, check_listing, read_verified
from sdk_reference.container import ZIP_ERRORS
from sdk_reference.errors import BundleMalformed, BundleNotFound
from sdk_reference.manifest import MAX_MANIFEST_BYTES, Artifact, FileEntry


def require_unchanged(bundle: Bundle, artifact: Artifact) -> None:
    """Raise BundleError unless `bundle` lies where it was loaded from, folder or zip, as it was then.

    Every file must be there in its size; manifest and the files of `artifact` must have the bytes that were verified.
    """
    if not bundle.path.exists():
        raise BundleNotFound(
            found=f"no bundle at {bundle.path} any more",
            expected="the one that was loaded, until the verdict",
            remedy="leave bundles in place while they are in use; put it back and start again",
        )
    try:
        sizes = bundle.store.sizes()
    except ZIP_ERRORS as error:
        raise BundleMalformed(
            found=f"{bundle.path.name}, which can no longer be read ({error})",
            expected="the bundle that was loaded, until the verdict",
            remedy="leave bundles in place while they are in use; put it back and start again",
        ) from error
    # A manifest has no entry of its own; that it is a whole one was found when its hash was taken.
    read_verified(bundle.store, MANIFEST_NAME, FileEntry(sha256=bundle.sha256, bytes=MAX_MANIFEST_BYTES))
    check_listing(bundle.manifest, sizes)
    for path in bundle.manifest.files:
        if artifact.holds(path):
            bundle.read(path)
