"use strict";
// Everything here is comfort: without it the page shows all answers, in the system's theme.

const root = document.documentElement;
const theme = document.getElementById("theme");
const themes = ["system", "light", "dark"];
theme.hidden = false;
theme.addEventListener("click", () => {
  const next = themes[(themes.indexOf(root.dataset.theme ?? "system") + 1) % themes.length];
  root.dataset.theme = next;
  theme.querySelector("span").textContent = next;
});

for (const answers of document.querySelectorAll(".answers")) {
  const form = answers.querySelector(".filters");
  const search = form.querySelector("input[type=search]");
  const questions = [...answers.querySelectorAll(".question")].map((article) => ({
    article,
    marks: article.dataset.marks.split(" "),
    text: article.textContent.toLowerCase(),
  }));
  const narrow = () => {
    const mark = form.elements.mark.value;
    const words = search.value.toLowerCase().trim();
    let shown = 0;
    for (const { article, marks, text } of questions) {
      const fits = (!mark || marks.includes(mark)) && text.includes(words);
      article.hidden = !fits;
      shown += fits;
    }
    form.querySelector(".found").textContent = `${shown} of ${questions.length} shown`;
    answers.querySelector(".nothing").hidden = shown > 0;
  };
  form.hidden = false;
  form.reset(); // a reloaded page must not keep a choice that its list does not show
  form.addEventListener("input", narrow);
  form.addEventListener("submit", (event) => event.preventDefault());
  narrow();
}

const tip = document.getElementById("tip");
const point = (event) => {
  const mark = event.target.closest?.(".drawing [aria-label][aria-roledescription]:not(g)");
  tip.hidden = !mark;
  if (mark) {
    tip.textContent = mark.getAttribute("aria-label");
    const { width, height } = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 12, document.documentElement.clientWidth - width - 8);
    const above = event.clientY - height - 12;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above > 8 ? above : event.clientY + 16}px`;
  }
};
document.addEventListener("pointermove", point);
document.addEventListener("pointerdown", point);
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
