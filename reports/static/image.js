"use strict";
// One image: before and after, every method's inversion, its difference, mask and edits.
(async () => {
  const { byId, fill, state, remember, index, element, picture, written } = invbench;
  const ids = ["board", "image", "left", "right", "metric", "edit"];
  const selects = Object.fromEntries(ids.map((name) => [name, byId(name)]));
  let board = null;
  fill(selects.board, index.map((one) => [one.id, one.name]), invbench.startBoard());

  const image = () => Number(selects.image.value);
  const strengths = () => board.edits[selects.edit.value] ?? [];
  const step = () => strengths()[Number(byId("strength").value)];
  // "input", "m3" (the inversion of method 3), "e3" (its edit), "truth" (the true edit)
  function source(word) {
    const tag = step()?.[1];
    if (word === "input") return invbench.input(board, image());
    if (word === "truth") return tag ? invbench.truth(board, image(), tag) : null;
    if (word[0] === "e" && !tag) return null;
    return invbench.inversion(board, image(), Number(word.slice(1)), word[0] === "e" ? tag : "");
  }

  function slide() {
    for (const [id, name] of [["before", "left"], ["after", "right"]]) {
      const found = source(selects[name].value);
      byId(id).hidden = !found;
      if (found) byId(id).src = found; else byId(id).removeAttribute("src");
      byId(id).alt = `${selects[name].selectedOptions[0]?.textContent}: ${board.images[image()]}`;
    }
    split();
  }
  function split() {
    const at = byId("split").value;
    byId("before").style.clipPath = `inset(0 ${100 - at}% 0 0)`;
    byId("edge").style.left = `${at}%`;
  }

  async function cards() {
    const metric = board.metrics[Number(selects.metric.value)];
    const table = metric ? await invbench.table(selects.board.value, selects.metric.value) : null;
    const figure = (head, ...inside) => element("figure", {}, ...inside, element("figcaption", {}, head));
    const over = (below, mask, alt) => (below && mask ? element("span", { class: "over" }, picture(below, ""), picture(mask, alt, { class: "tint" })) : picture(null));
    const made = board.methods.map((label, m) => {
      const reason = board.failed[`${image()}.${m}`];
      const [input, inversion] = [invbench.input(board, image()), invbench.inversion(board, image(), m)];
      const value = table ? written(table[image()][m] ?? NaN) : "";
      const parts = reason ? [element("p", { class: "failed" }, `failed: ${reason}`)] : [
        figure("inversion", picture(inversion, `${label}: inversion`)),
        figure("heat", input && inversion ? element("span", { class: "heat" }, picture(input, ""), picture(inversion, `${label}: difference from the input`)) : picture(null)),
        ...(board.masks[m] ? [figure("out of domain", over(input, invbench.mask(board, image(), m), `${label}: what it took for out-of-domain, over the input`))] : []),
        ...(step() ? [figure(`${selects.edit.value} ${signed(step()[0])}`, picture(source(`e${m}`), `${label}: ${selects.edit.value} ${signed(step()[0])}`))] : []),
      ];
      return element("li", {}, element("h3", {}, label, " ", element("span", { class: "note" }, metric ? `${metric.head} ${value}` : "")), element("div", { class: "strip" }, ...parts));
    });
    const truth = [figure("input", picture(invbench.input(board, image()), `input ${board.images[image()]}`))];
    if (board.truths) truth.push(figure("truly out of domain", over(invbench.input(board, image()), invbench.trueMask(board, image()), "what is out-of-domain, over the input")));
    if (board.true_edits && step()) truth.push(figure(`true ${selects.edit.value} ${signed(step()[0])}`, picture(source("truth"), "true edit")));
    made.unshift(element("li", { class: "truth" }, element("h3", {}, "Input and truth"), element("div", { class: "strip" }, ...truth)));
    byId("cards").replaceChildren(...made);
  }
  const signed = (value) => (value > 0 ? `+${value}` : String(value));

  async function show() {
    byId("name").textContent = `${board.dataset} / ${board.images[image()]}`;
    byId("strength-text").textContent = step() ? signed(step()[0]) : "";
    remember({ ...Object.fromEntries(ids.map((name) => [name, selects[name].value])), strength: byId("strength").value });
    slide();
    await cards();
  }

  function edits(chosen) {
    const known = strengths();
    byId("strength").parentElement.hidden = !known.length;
    byId("strength").max = Math.max(known.length - 1, 0);
    byId("strength").value = chosen ?? known.length - 1;
  }

  async function choose() {
    board = await invbench.board(selects.board.value);
    document.body.classList.toggle("pixelated", board.pixelated);
    const now = state();
    fill(selects.image, board.images.map((name, i) => [i, name]), now.get("image") ?? 0);
    const words = [["input", "input"], ...board.methods.map((label, m) => [`m${m}`, label])];
    if (Object.keys(board.edits).length) words.push(...board.methods.map((label, m) => [`e${m}`, `${label}, edited`]), ...(board.true_edits ? [["truth", "true edit"]] : []));
    fill(selects.left, words, now.get("left") ?? "input");
    fill(selects.right, words, now.get("right") ?? "m0");
    fill(selects.metric, board.metrics.map((one, i) => [i, one.head]), now.get("metric") ?? board.fidelity);
    fill(selects.edit, Object.keys(board.edits).map((name) => [name, name]), now.get("edit"));
    selects.edit.parentElement.hidden = !Object.keys(board.edits).length;
    edits(now.get("strength"));
    await show();
  }

  const turn = (by) => { selects.image.value = (image() + by + board.images.length) % board.images.length; show(); };
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  selects.board.addEventListener("change", () => { remember({ image: "", left: "", right: "", metric: "", edit: "", strength: "" }); choose(); });
  for (const name of ["image", "left", "right", "metric"]) selects[name].addEventListener("change", show);
  selects.edit.addEventListener("change", () => { edits(); show(); });
  byId("strength").addEventListener("input", show);
  byId("split").addEventListener("input", split);
  byId("zoom").addEventListener("input", () => {
    byId("slider").style.setProperty("--zoom", byId("zoom").value);
    byId("slider").classList.toggle("close", Number(byId("zoom").value) > 2); // single pixels are seen as they are
  });
  const drag = (event) => {
    if (!event.buttons) return;
    const box = byId("after").getBoundingClientRect().width ? byId("slider").firstElementChild.getBoundingClientRect() : null;
    if (box) { byId("split").value = (100 * (event.clientX - box.left)) / box.width; split(); }
  };
  byId("slider").addEventListener("pointerdown", drag);
  byId("slider").addEventListener("pointermove", drag);
  window.addEventListener("hashchange", choose);
  if (index.length) await choose();
})();
