// Which language the page speaks, and its words on the page.

import { TEXTS } from "/static/texts.js";

export function chosenLang() {
  const asked = new URLSearchParams(location.search).get("lang") ?? stored("hrlaif.lang");
  const given = asked ?? document.documentElement.dataset.lang;
  return given in TEXTS ? given : navigator.language.startsWith("zh") ? "zh" : "en";
}

function stored(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

// Puts the language's words wherever the page names them.
export function writeTexts(lang) {
  const texts = TEXTS[lang];
  document.documentElement.lang = lang;
  document.title = texts.title;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = texts[element.dataset.text];
  for (const side of ["left", "right"]) document.getElementById(`${side}-title`).textContent = texts[side];
  document.getElementById("keys").replaceChildren(
    ...texts.keys.flatMap(([keys, what]) => {
      const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
      for (const key of keys.split(" ")) {
        const shown = document.createElement(key === "/" ? "span" : "kbd");
        shown.textContent = key;
        term.append(shown, " ");
      }
      detail.textContent = what;
      return [term, detail];
    }),
  );
}

export function rememberLang(lang) {
  try {
    localStorage.setItem("hrlaif.lang", lang);
  } catch {
    // Without storage the choice holds until the page is closed.
  }
  const query = new URLSearchParams(location.search);
  query.delete("lang");
  history.replaceState(null, "", location.pathname + (query.size ? `?${query}` : ""));
}
