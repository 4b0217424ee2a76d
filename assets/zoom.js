// Tells the page which part of the X-ray is shown, a moment after the reader has stopped zooming.
const REST = 150; // milliseconds

export default function ({ data, setStateValue }) {
  const listened = new WeakSet();
  let timer;

  const tell = ({ xaxis, yaxis }) => {
    const all = xaxis.autorange || yaxis.autorange;
    setStateValue("zoom", all ? null : { image: data.image, across: xaxis.range, down: yaxis.range });
  };

  const listen = () => {
    const chart = document.querySelector(`.st-key-${data.box} .js-plotly-plot`);
    if (!chart?.on || listened.has(chart)) return;
    listened.add(chart);
    chart.on("plotly_relayout", () => {
      clearTimeout(timer);
      timer = setTimeout(() => tell(chart.layout), REST);
    });
  };

  // A chart that is drawn anew is another element.
  const observer = new MutationObserver(listen);
  observer.observe(document.body, { childList: true, subtree: true });
  listen();
  return () => {
    observer.disconnect();
    clearTimeout(timer);
  };
}
