"use strict";
// Where the pictures of an image are, and the tiles that galleries are made of.
(() => {
  const { root, element } = invbench;
  const seen = (board, path) => !(board.left_out ??= new Set(board.hidden)).has(path);
  const at = (board, folder, cell, file) => {
    const path = `${folder}/${cell}/${file}`;
    return seen(board, path) ? `${root}${board.root}/${path}` : null;
  };
  Object.assign(invbench, {
    input: (board, image) => at(board, "inputs", board.inputs, `${board.files[image]}.png`),
    inversion: (board, image, method, tag = "") => (`${image}.${method}` in board.failed ? null
      : at(board, "images", board.cells[method], `${board.files[image]}${tag}.png`)),
    mask: (board, image, method) => (board.masks[method] ? at(board, "masks", board.cells[method], `${board.files[image]}.png`) : null),
    truth: (board, image, tag) => (board.true_edits ? at(board, "truths", board.inputs, `${board.files[image]}${tag}.png`) : null),
    trueMask: (board, image) => (board.truths ? at(board, "truth_masks", board.inputs, `${board.files[image]}.png`) : null),
    // A picture that is not there leaves a sign in its place.
    picture: (source, alt, attributes = {}) => {
      if (!source) return element("span", { class: "nothing" }, "–");
      const made = element("img", { src: source, alt, loading: "lazy", decoding: "async", ...attributes });
      made.addEventListener("error", () => made.replaceWith(element("span", { class: "nothing" }, "–")));
      return made;
    },
    tile: (id, board, image, method, text) => element("li", {},
      element("a", { href: `${root}image.html#${new URLSearchParams({ board: id, image, right: `m${method}` })}` },
        element("span", { class: "two" }, invbench.picture(invbench.input(board, image), ""),
          invbench.picture(invbench.inversion(board, image, method), `${board.methods[method]}: ${board.images[image]}`)),
        element("span", {}, board.images[image]), element("span", { class: "note" }, text))),
  });
})();
