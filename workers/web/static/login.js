"use strict";
// The server says by the address that a token was wrong; the token itself never stands there.
if (location.search === "?wrong") {
  document.getElementById("wrong").hidden = false;
  history.replaceState(null, "", "/login");
}
