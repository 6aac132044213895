// The model's activation function, by the name its config uses.
const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const silu = (x) => x * sigmoid(x);
const gelu = (x) => 0.5 * x * erfc(-x / Math.SQRT2);
const geluTanh = (x) => x * sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3));
const relu = (x) => Math.max(x, 0);

/** Complementary error function: a series for small |x|, a continued fraction (Lentz) for large. */
function erfc(x) {
  const z = Math.abs(x);
  if (z > 27) return x > 0 ? 0 : 2;
  let tail;
  if (z < 2.5) {
    let term = z, sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) { term *= -z * z / n; sum += term / (2 * n + 1); }
    tail = 1 - sum * 2 / Math.sqrt(Math.PI);
  } else {
    let fraction = z;
    for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction;
    tail = Math.exp(-z * z) / fraction / Math.sqrt(Math.PI);
  }
  return x >= 0 ? tail : 2 - tail;
}

const ACTIVATIONS = {
  silu, swish: silu, quick_gelu: (x) => x * sigmoid(1.702 * x), gelu, gelu_python: gelu,
  gelu_new: geluTanh, gelu_fast: geluTanh, gelu_accurate: geluTanh, gelu_pytorch_tanh: geluTanh,
  gelu_python_tanh: geluTanh, relu, relu2: (x) => relu(x) ** 2,
};
