// Takes grey values from the server and keeps the newest pictures for the viewer: a length, a head as JSON, raw pixels.
const HELD = 6; // pictures: stepping back shows at once what was seen a moment ago
const pixels = (globalThis[Symbol.for("chest-xray pixels")] ??= new Map());

export default function ({ data }) {
  const length = new DataView(data.buffer, data.byteOffset).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(data.subarray(4, 4 + length)));
  const body = data.slice(4 + length); // a copy starts at a whole word
  pixels.delete(head.key);
  pixels.set(head.key, { ...head, grey: head.deepest > 255 ? new Uint16Array(body.buffer) : body });
  while (pixels.size > HELD) pixels.delete(pixels.keys().next().value);
  document.dispatchEvent(new CustomEvent("chest-xray-pixels"));
}
