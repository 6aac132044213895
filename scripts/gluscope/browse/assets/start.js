// On the start page of the live site: which neurons answer to a text of the reader's own.
(() => {
"use strict";
const live = window.gluscopeLive;
if (!live?.box) return;
document.querySelector("main").prepend(live.box.ownBox([["Neurons that answer most strongly", live.box.showStrongest]]));
document.documentElement.classList.add("own-ready");
})();
