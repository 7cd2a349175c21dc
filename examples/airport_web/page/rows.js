// The rows of the board, in the order of time. Each is a button; the list is one stop of the Tab key, and the arrows go
// through it.

const STATUS = { on_time: "On time", delayed: "Delayed", cancelled: "Cancelled", departed: "Departed" };

/** What is said of a delay; nothing if there is none. */
export function delayOf(row) {
  return row.delay > 0 && row.status !== "on_time" ? `+${row.delay} min` : "";
}

export const statusOf = (row) => STATUS[row.status] ?? row.status;
export const flightOf = (row) => `${row.carrier} ${row.number}`;

const before = (a, b) => a.scheduled < b.scheduled || (a.scheduled === b.scheduled && flightOf(a) < flightOf(b));

function cell(parent, name) {
  const span = document.createElement("span");
  span.className = name;
  parent.append(span, " ");
  return span;
}

export class Rows {
  #list;
  #empty;
  #open;
  #rows = new Map();
  /** The row at which the Tab key stops, if somebody has chosen it; else that is the first. */
  #chosen = null;
  /** Told of each row that has changed; without a row, it has gone. */
  onChange = () => {};

  constructor(list, empty, open) {
    this.#list = list;
    this.#empty = empty;
    this.#open = open;
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("focusin", ({ target }) => {
      this.#chosen = target.closest("li");
      this.#stopAt(this.#chosen);
    });
  }

  set(topic, row) {
    let shown = this.#rows.get(topic);
    if (!shown) {
      shown = this.#make(topic);
      this.#rows.set(topic, shown);
      this.#empty.hidden = true;
    }
    const moved = shown.row?.scheduled !== row.scheduled;
    shown.row = row;
    this.#write(shown);
    if (moved) this.#place(shown);
    this.onChange(topic, row);
  }

  remove(topic) {
    const shown = this.#rows.get(topic);
    if (!shown) return;
    const { item } = shown;
    const neighbour = item.nextElementSibling ?? item.previousElementSibling;
    const hadFocus = item.contains(document.activeElement);
    this.#rows.delete(topic);
    item.remove();
    if (this.#chosen === item) this.#chosen = null;
    // Whoever goes through the list by keyboard stays in it.
    if (hadFocus) neighbour?.firstElementChild.focus({ preventScroll: true });
    else if (!this.#chosen) this.#stopAt(this.#list.firstElementChild);
    this.#empty.hidden = this.#rows.size > 0;
    this.onChange(topic);
  }

  clear() {
    this.#chosen = null;
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#empty.hidden = false;
  }

  #make(topic) {
    const item = document.createElement("li");
    item.dataset.topic = topic;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "row";
    button.tabIndex = -1;
    item.append(button);
    const cells = {};
    for (const name of ["time", "flight", "city", "airline", "status", "delay"]) cells[name] = cell(button, name);
    for (const name of ["time", "flight", "city", "status"]) cells[name].classList.add("tiles");
    const shown = { item, button, cells, row: null };
    button.addEventListener("click", () => this.#open(topic, shown.row));
    return shown;
  }

  #write({ item, cells, row }) {
    const isNew = item.dataset.status === undefined;
    item.dataset.status = row.status;
    const texts = {
      time: row.scheduled.slice(11, 16),
      flight: flightOf(row),
      city: row.city,
      airline: row.airline,
      status: statusOf(row),
      delay: delayOf(row),
    };
    for (const [name, text] of Object.entries(texts)) {
      if (cells[name].textContent === text) continue;
      cells[name].textContent = text;
      // What is too long for its place ends in an ellipsis.
      if (name === "city" || name === "airline") cells[name].title = text;
      if (!isNew) this.#flip(cells[name]);
    }
  }

  #flip(element) {
    element.classList.remove("flip");
    // Asking for its size ends the animation that was on, so that the next one begins.
    void element.offsetWidth;
    element.classList.add("flip");
  }

  #place({ item, row }) {
    const later = [...this.#rows.values()].filter((other) => other.row && other.item !== item && before(row, other.row));
    const next = later.reduce((first, other) => (!first || before(other.row, first.row) ? other : first), null);
    this.#list.insertBefore(item, next?.item ?? null);
    if (!this.#chosen && item === this.#list.firstElementChild) this.#stopAt(item);
  }

  #stopAt(item) {
    if (!item) return;
    for (const { button } of this.#rows.values()) button.tabIndex = -1;
    item.firstElementChild.tabIndex = 0;
  }

  #key(event) {
    const item = event.target.closest("li");
    const to = {
      ArrowDown: item?.nextElementSibling,
      ArrowUp: item?.previousElementSibling,
      Home: this.#list.firstElementChild,
      End: this.#list.lastElementChild,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    to?.firstElementChild.focus();
  }
}
