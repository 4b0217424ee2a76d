// What the page does as a whole: files may be dropped anywhere on it, and it asks before it is left in mid-run.
let busy = false;
let installed = false;
let within = 0; // elements that the dragged files are over

const zone = () => document.querySelector(".st-key-upload [data-testid=stFileUploaderDropzone]");
const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

const over = (count) => {
  within = Math.max(0, count);
  document.documentElement.classList.toggle("files-over", within > 0);
};

const install = () => {
  installed = true;
  window.addEventListener("dragenter", (event) => carriesFiles(event) && over(within + 1), true);
  window.addEventListener("dragleave", (event) => carriesFiles(event) && over(within - 1), true);
  window.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  window.addEventListener("drop", (event) => {
    over(0);
    const target = zone();
    if (!carriesFiles(event) || !target || event.composedPath().includes(target)) return;
    event.preventDefault(); // the browser would open the file instead of the page
    event.stopPropagation();
    target.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: event.dataTransfer }));
  }, true);
  window.addEventListener("beforeunload", (event) => busy && event.preventDefault());
};

export default function ({ data }) {
  if (!installed) install();
  busy = data.busy;
  document.documentElement.classList.toggle("at-work", busy);
}
