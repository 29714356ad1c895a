"use strict";
// The gallery: images of a dataset, sorted by what matters; those of a second dataset beside them, in the same order.
(async () => {
  const { byId, fill, state, remember, index, written, element } = invbench;
  const STEP = 48;
  const names = ["board", "method", "order", "metric", "other", "second", "beside"];
  const selects = Object.fromEntries(names.map((name) => [name, byId(name)]));
  let [board, lists] = [null, []];
  fill(selects.board, index.map((one) => [one.id, one.name]), invbench.startBoard());
  if (state().has("order")) selects.order.value = state().get("order");

  async function choose() {
    board = await invbench.board(selects.board.value);
    const methods = board.methods.map((label, i) => [i, label]);
    const metrics = board.metrics.map((one, i) => [i, one.head]);
    const was = (name, start) => state().get(name) ?? start;
    fill(selects.method, methods, was("method", 0));
    fill(selects.other, methods, was("other", Math.min(1, methods.length - 1)));
    fill(selects.metric, metrics, was("metric", board.fidelity));
    const perceptual = board.metrics.findIndex((one) => one.id.startsWith("lpips"));
    fill(selects.second, metrics, was("second", Math.max(perceptual, 0)));
    const others = index.filter((one) => one.id !== selects.board.value).map((one) => [one.id, one.name]);
    fill(selects.beside, [["", "nothing"], ...others], was("beside", ""));
    selects.beside.parentElement.hidden = !others.length;
    await sort();
  }

  const ranks = (values) => {
    const sorted = values.map((value, i) => [value, i]).sort(([a], [b]) => a - b);
    const found = [];
    sorted.forEach(([, i], rank) => { found[i] = rank; });
    return found;
  };

  // The images of a dataset in the chosen order: [numbers, number -> text]. `of` gives the indices of methods and metrics there.
  async function ordered(id, one, of) {
    const [method, other, kind] = [of.method, of.other, selects.order.value];
    const metric = one.metrics[of.metric];
    const table = metric ? await invbench.table(id, of.metric) : one.images.map(() => []);
    const sign = metric?.better === "lower" ? -1 : 1;
    const own = table.map((row) => row[method] ?? NaN);
    let [score, text] = [own.map((value) => sign * value), (i) => `${metric?.head ?? ""} ${written(own[i])}`];
    if (kind === "lead" || kind === "trail") {
      const gaps = table.map((row) => sign * (row[method] - row[other]));
      score = gaps;
      text = (i) => `${gaps[i] > 0 ? "+" : ""}${written(gaps[i])} ${metric.unit || metric.head}`;
    } else if (kind === "odd") {
      const second = one.metrics[of.second];
      const turn = second.better === "lower" ? -1 : 1;
      const [a, b] = [ranks(score), ranks((await invbench.table(id, of.second)).map((row) => turn * row[method]))];
      score = a.map((rank, i) => (Number.isNaN(own[i]) ? NaN : Math.abs(rank - b[i])));
      text = (i) => `${metric.head} place ${a.length - a[i]}, ${second.head} place ${b.length - b[i]}`;
    }
    const all = one.images.map((_, i) => i);
    const down = ["best", "lead", "odd"].includes(kind) ? -1 : 1;
    return [kind === "data" ? all : all.filter((i) => !Number.isNaN(score[i])).sort((a, b) => down * (score[a] - score[b])), text];
  }

  async function sort() {
    remember(Object.fromEntries(names.map((name) => [name, selects[name].value])));
    const kind = selects.order.value;
    selects.other.parentElement.hidden = !["lead", "trail"].includes(kind);
    selects.second.parentElement.hidden = kind !== "odd";
    const chosen = Object.fromEntries(["method", "other", "metric", "second"].map((name) => [name, Number(selects[name].value)]));
    const found = [[selects.board.value, board, chosen]];
    if (selects.beside.value) {
      const two = await invbench.board(selects.beside.value);
      const [at, of] = [(i) => two.methods.indexOf(board.methods[i]), (i) => two.metrics.findIndex((one) => one.id === board.metrics[i]?.id && one.head === board.metrics[i].head)];
      const there = { method: at(chosen.method), other: at(chosen.other), metric: of(chosen.metric), second: of(chosen.second) };
      if (there.method >= 0 && there.metric >= 0) found.push([selects.beside.value, two, there]);
    }
    document.body.classList.toggle("pixelated", found.every(([, one]) => one.pixelated));
    lists = [];
    for (const [id, one, of] of found) {
      const [order, text] = await ordered(id, one, of);
      lists.push({ id, one, of, order, text, shown: 0, tiles: element("ol", { class: "tiles", "aria-label": one.dataset }) });
    }
    byId("lists").className = lists.length > 1 ? "beside" : "";
    byId("lists").replaceChildren(...lists.map(({ one, tiles }) => element("section", {}, element("h2", {}, one.dataset), tiles)));
    more();
  }

  function more() {
    for (const list of lists) {
      const next = list.order.slice(list.shown, list.shown + STEP);
      list.tiles.append(...next.map((i) => invbench.tile(list.id, list.one, i, list.of.method, list.text(i))));
      list.shown += next.length;
    }
    byId("told").textContent = lists.map((list) => `${list.shown} of ${list.order.length} images`).join("; ");
    byId("more").hidden = lists.every((list) => list.shown >= list.order.length);
  }

  byId("more").addEventListener("click", more);
  selects.board.addEventListener("change", () => { remember({ method: "", other: "", metric: "", second: "", beside: "" }); choose(); });
  for (const name of names.slice(1)) selects[name].addEventListener("change", sort);
  if (index.length) await choose();
})();
