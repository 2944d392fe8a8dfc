"use strict";
// The server reports a wrong token in the query string; the token itself is never part of a URL.
if (location.search === "?wrong") {
  document.getElementById("wrong").hidden = false;
  history.replaceState(null, "", "/login");
}
