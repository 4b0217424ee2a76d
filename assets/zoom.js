// Tells the page which part of the X-ray is shown, a moment after the reader has stopped zooming.
const REST = 150; // milliseconds
const heard = new WeakSet(); // charts that are listened to already
let page; // where the chart is, which image it shows, and how to answer: as the page has told last
let timer;

const tell = (chart) => {
  if (!chart.isConnected) return;
  const { xaxis, yaxis } = chart.layout;
  const all = xaxis.autorange || yaxis.autorange;
  page.setStateValue("zoom", all ? null : { image: page.data.image, across: xaxis.range, down: yaxis.range });
};

const listen = () => {
  const chart = document.querySelector(`.st-key-${page.data.box} .js-plotly-plot`);
  if (!chart?.on || heard.has(chart)) return;
  heard.add(chart);
  chart.on("plotly_relayout", () => {
    clearTimeout(timer);
    timer = setTimeout(tell, REST, chart);
  });
};

export default function (component) {
  page = component;
  const observer = new MutationObserver(listen); // a chart that is drawn anew is another element
  observer.observe(document.body, { childList: true, subtree: true });
  listen();
  return () => observer.disconnect();
}
