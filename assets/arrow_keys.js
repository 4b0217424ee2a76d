// A segment or a tab that was clicked keeps the focus, and with it the arrow keys, which are to step through the list.
// It gives them back after a click of the mouse; whoever reaches it by keyboard keeps them.
const CHOICES = "[role=radiogroup], [role=tablist]";

const giveBack = (event) => {
  const choice = event.detail > 0 && event.target.closest?.(CHOICES);
  if (choice) setTimeout(() => choice.contains(document.activeElement) && document.activeElement.blur());
};

export default function () {
  document.addEventListener("click", giveBack, true); // before the choice stops it
  return () => document.removeEventListener("click", giveBack, true);
}
