// Takes small pictures from the server and keeps them for the worklist: a file's key to the address of its picture.
const thumbnails = (globalThis[Symbol.for("chest-xray thumbnails")] ??= new Map());

export default function ({ data }) {
  for (const [key, address] of Object.entries(data.pictures)) thumbnails.set(key, address);
  document.dispatchEvent(new CustomEvent("chest-xray-thumbnails"));
}
