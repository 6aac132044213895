// A remark of the server's on a page: that it is not kept as a file, or older than its results.
(() => {
"use strict";
const live = window.gluscopeLive;
if (!live?.note || !live.tools) return;
document.querySelector("main").prepend(live.tools.h("p.live-note", { role: "note" }, live.note));
})();
