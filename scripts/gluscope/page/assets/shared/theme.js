// Light or dark: the system's choice, until the reader makes another.
function storedTheme() { try { return localStorage.getItem("gluscope-theme"); } catch { return null; } }

function turnTheme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("gluscope-theme", document.documentElement.dataset.theme); } catch { /* not kept */ }
}

if (["light", "dark"].includes(storedTheme())) document.documentElement.dataset.theme = storedTheme();
