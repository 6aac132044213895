// The server of `make browse` says that it is there before this script runs. In a file nobody does.
const LIVE = window.gluscopeLive ?? null;
if (LIVE) LIVE.tools = { h, svg, number, caseLabel, tokenChip, inline };
