// Bytes to light, and the face's ellipse: what several stages share (steps 4 and 7 of docs/bundle.md).

const LUMINANCE = [0.2126, 0.7152, 0.0722];

/** Byte → light, 256 float32 values, for the manifest's `transfer`: `linear` or `encoded`. */
export function lightTable(transfer) {
  return Float32Array.from({ length: 256 }, (_, byte) => {
    const c = byte / 255;
    if (transfer === 'encoded') return c;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
}

export const LINEAR = lightTable('linear');

/** Linear luminance of an RGB frame, pixel by pixel. */
export function luminance({ width, height, data }) {
  const result = new Float32Array(width * height);
  for (let pixel = 0; pixel < result.length; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      result[pixel] += LUMINANCE[channel] * LINEAR[data[pixel * 3 + channel]];
    }
  }
  return result;
}

/** Indices of the pixels of a side×side frame whose centre lies in the face ellipse, its axes times `grow`. */
export function facePixels(alignment, side, grow = 1) {
  const [[cx, cy], [ax, ay]] = [alignment.face_ellipse.centre, alignment.face_ellipse.semi_axes];
  const step = alignment.size / side;
  const inside = [];
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [across, down] = [((x + 0.5) * step - cx) / (ax * grow), ((y + 0.5) * step - cy) / (ay * grow)];
      if (across ** 2 + down ** 2 <= 1) inside.push(y * side + x);
    }
  }
  return inside;
}

/** The mean of every 2×2 pixels of a side×side plane. */
export function halved(plane, side) {
  const half = side / 2;
  return Float32Array.from({ length: half * half }, (_, index) => {
    const at = 2 * Math.floor(index / half) * side + 2 * (index % half);
    return (plane[at] + plane[at + 1] + plane[at + side] + plane[at + side + 1]) / 4;
  });
}

/** The median; of an even number of values the mean of the middle two. */
export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
