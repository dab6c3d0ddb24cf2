// Affine maps [[a, b, c], [d, e, f]]: (x, y) ↦ (a·x + b·y + c, d·x + e·y + f), between pixel corners.

export const IDENTITY = [[1, 0, 0], [0, 1, 0]];

/** Where `map` takes the point [x, y]. */
export function apply([[a, b, c], [d, e, f]], [x, y]) {
  return [a * x + b * y + c, d * x + e * y + f];
}

/** The map that does `first`, then `second`. */
export function compose(second, first) {
  return second.map(([a, b, c]) => [
    a * first[0][0] + b * first[1][0],
    a * first[0][1] + b * first[1][1],
    a * first[0][2] + b * first[1][2] + c,
  ]);
}

/** The factor by which `map` changes areas; negative when it mirrors. */
export function determinant([[a, b], [d, e]]) {
  return a * e - b * d;
}

/** The map that undoes `map`. */
export function invert(map) {
  const [[a, b, c], [d, e, f]] = map;
  const det = determinant(map);
  return [
    [e / det, -b / det, (b * f - c * e) / det],
    [-d / det, a / det, (c * d - a * f) / det],
  ];
}

/** The least-squares map from `sources` to `targets`, lists of [x, y] (step 2 of docs/bundle.md). */
export function fitAffine(sources, targets) {
  const centre = [0, 1].map((axis) => sources.reduce((sum, point) => sum + point[axis], 0) / sources.length);
  const normal = [[0, 0, 0], [0, 0, 0], [0, 0, 0]];
  const right = [[0, 0, 0], [0, 0, 0]];
  sources.forEach((point, index) => {
    const row = [point[0] - centre[0], point[1] - centre[1], 1];
    row.forEach((one, i) => {
      row.forEach((other, j) => (normal[i][j] += one * other));
      right.forEach((sums, axis) => (sums[i] += one * targets[index][axis]));
    });
  });
  return right.map((sums) => {
    const [a, b, c] = solve(normal, sums);
    return [a, b, c - a * centre[0] - b * centre[1]];
  });
}

/** Solves the n×n system by Gaussian elimination with pivots; what it is given stays as it is. */
export function solve(matrix, right) {
  const rows = matrix.map((row, index) => [...row, right[index]]);
  const n = rows.length;
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let row = column + 1; row < n; row++) {
      if (Math.abs(rows[row][column]) > Math.abs(rows[pivot][column])) pivot = row;
    }
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    for (let row = column + 1; row < n; row++) {
      const factor = rows[row][column] / rows[column][column];
      for (let k = column; k <= n; k++) rows[row][k] -= factor * rows[column][k];
    }
  }
  const result = new Array(n).fill(0);
  for (let row = n - 1; row >= 0; row--) {
    let rest = rows[row][n];
    for (let k = row + 1; k < n; k++) rest -= rows[row][k] * result[k];
    result[row] = rest / rows[row][row];
  }
  return result;
}
