"use strict";
// The gallery: images of a dataset, sorted by what matters.
(async () => {
  const { byId, fill, state, remember, index, written } = invbench;
  const STEP = 48;
  const names = ["board", "method", "order", "metric", "other", "second"];
  const selects = Object.fromEntries(names.map((name) => [name, byId(name)]));
  let [board, order, shown] = [null, [], 0];
  fill(selects.board, index.map((one) => [one.id, one.name]), invbench.startBoard());
  if (state().has("order")) selects.order.value = state().get("order");

  async function choose() {
    board = await invbench.board(selects.board.value);
    document.body.classList.toggle("pixelated", board.pixelated);
    const methods = board.methods.map((label, i) => [i, label]);
    const metrics = board.metrics.map((one, i) => [i, one.head]);
    const was = (name, start) => state().get(name) ?? start;
    fill(selects.method, methods, was("method", 0));
    fill(selects.other, methods, was("other", Math.min(1, methods.length - 1)));
    fill(selects.metric, metrics, was("metric", board.fidelity));
    const perceptual = board.metrics.findIndex((one) => one.id.startsWith("lpips"));
    fill(selects.second, metrics, was("second", Math.max(perceptual, 0)));
    await sort();
  }

  const ranks = (values) => {
    const sorted = values.map((value, i) => [value, i]).sort(([a], [b]) => a - b);
    const found = [];
    sorted.forEach(([, i], rank) => { found[i] = rank; });
    return found;
  };

  async function sort() {
    remember(Object.fromEntries(names.map((name) => [name, selects[name].value])));
    const [method, other, kind] = [Number(selects.method.value), Number(selects.other.value), selects.order.value];
    selects.other.parentElement.hidden = !["lead", "trail"].includes(kind);
    selects.second.parentElement.hidden = kind !== "odd";
    const metric = board.metrics[Number(selects.metric.value)];
    const table = metric ? await invbench.table(selects.board.value, selects.metric.value) : board.images.map(() => []);
    const sign = metric?.better === "lower" ? -1 : 1;
    const own = table.map((row) => row[method] ?? NaN);
    let [score, text] = [own.map((value) => sign * value), (i) => `${metric?.head ?? ""} ${written(own[i])}`];
    if (kind === "lead" || kind === "trail") {
      const gaps = table.map((row) => sign * (row[method] - row[other]));
      score = gaps;
      text = (i) => `${gaps[i] > 0 ? "+" : ""}${written(gaps[i])} ${metric.unit || metric.head}`;
    } else if (kind === "odd") {
      const second = board.metrics[Number(selects.second.value)];
      const turn = second.better === "lower" ? -1 : 1;
      const [a, b] = [ranks(score), ranks((await invbench.table(selects.board.value, selects.second.value)).map((row) => turn * row[method]))];
      score = a.map((rank, i) => (Number.isNaN(own[i]) ? NaN : Math.abs(rank - b[i])));
      text = (i) => `${metric.head} place ${a.length - a[i]}, ${second.head} place ${b.length - b[i]}`;
    }
    order = board.images.map((_, i) => i);
    const down = ["best", "lead", "odd"].includes(kind) ? -1 : 1;
    if (kind !== "data") order = order.filter((i) => !Number.isNaN(score[i])).sort((a, b) => down * (score[a] - score[b]));
    byId("tiles").replaceChildren();
    shown = 0;
    more(method, text);
    byId("more").onclick = () => more(method, text);
  }

  function more(method, text) {
    byId("tiles").append(...order.slice(shown, shown + STEP).map((i) => invbench.tile(selects.board.value, board, i, method, text(i))));
    shown = Math.min(shown + STEP, order.length);
    byId("told").textContent = `${shown} of ${order.length} images`;
    byId("more").hidden = shown >= order.length;
  }

  selects.board.addEventListener("change", () => { remember({ method: "", other: "", metric: "", second: "" }); choose(); });
  for (const name of names.slice(1)) selects[name].addEventListener("change", sort);
  if (index.length) await choose();
})();
