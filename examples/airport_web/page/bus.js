// The panel of the bus: what `stats` tells, twice a second.

const WORDS = { connecting: "connecting", connected: "connected", waiting: "waiting to try again", closed: "closed" };
const WIDTH = 240;
const HEIGHT = 56;

const number = new Intl.NumberFormat("en");
const byId = (id) => document.getElementById(id);
const set = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

export class Bus {
  /** Rows of the table, by what tells them apart; they stay, so that bars can grow and shrink. */
  #mailboxes = new Map();

  showState(state) {
    set(byId("state-word"), WORDS[state] ?? state);
  }

  show(stats) {
    // Until the first flight leaves there is nothing to measure.
    if (stats.events > 0 && stats.rates.length > 0) this.#drawRates(stats.rates);
    set(byId("events"), number.format(stats.events));
    set(byId("topics"), number.format(stats.topics));
    set(byId("subscriptions"), number.format(stats.subscriptions.length));
    set(byId("dropped"), number.format(stats.dropped));
    set(byId("dead-letters"), number.format(stats.dead_letters));
    set(byId("clients"), number.format(stats.gateway.connections));
    this.#showMailboxes(stats.subscriptions);
  }

  #drawRates(rates) {
    const last = rates.at(-1) ?? 0;
    const most = Math.max(1, ...rates);
    set(byId("rate"), last.toFixed(1));
    set(byId("rate-most"), `most ${most.toFixed(1)}`);
    // The newest is at the right, and a minute fills the width.
    const step = WIDTH / 119;
    const points = rates.map((rate, index) => {
      const x = WIDTH - (rates.length - 1 - index) * step;
      const y = HEIGHT - 2 - (rate / most) * (HEIGHT - 6);
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    });
    byId("rate-line").setAttribute("points", points.join(" "));
    const left = (WIDTH - (rates.length - 1) * step).toFixed(1);
    byId("rate-area").setAttribute("points", `${left},${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}`);
  }

  #showMailboxes(mailboxes) {
    const unseen = new Set(this.#mailboxes.keys());
    const table = byId("mailboxes");
    let place = table.firstElementChild;
    const seen = new Map();
    for (const mailbox of mailboxes) {
      const same = `${mailbox.bus} ${mailbox.name} ${mailbox.patterns}`;
      // The gateway has two for a moment when a client wants the kept values too.
      seen.set(same, (seen.get(same) ?? 0) + 1);
      const key = `${same} ${seen.get(same)}`;
      const row = unseen.delete(key) ? this.#mailboxes.get(key) : this.#make(key, mailbox);
      row.write(mailbox);
      if (row.element === place) place = place.nextElementSibling;
      else table.insertBefore(row.element, place);
    }
    for (const key of unseen) {
      this.#mailboxes.get(key).element.remove();
      this.#mailboxes.delete(key);
    }
  }

  #make(key, mailbox) {
    const element = document.createElement("tr");
    // No text of anybody is in it.
    element.innerHTML =
      '<th scope="row"><span class="of"><b></b> <span></span></span><span class="pattern"></span></th>' +
      '<td><span class="depth"></span><span class="bar" aria-hidden="true"><i class="peak"></i><i class="fill"></i></span></td>' +
      '<td class="delivered"><span></span><span class="lost"></span></td>';
    const find = (selector) => element.querySelector(selector);
    find("b").textContent = mailbox.name;
    find(".of span").textContent = mailbox.bus;
    find(".of").title = `${mailbox.name}: messages of the bus ${mailbox.bus}`;
    find(".pattern").textContent = mailbox.patterns;
    find(".pattern").title = mailbox.patterns;
    const [depth, peak, fill] = [find(".depth"), find(".peak"), find(".fill")];
    const [delivered, lost] = [find(".delivered span"), find(".lost")];
    // The eye could not tell one of a thousand from none, so the bar grows with the root.
    const part = (messages, capacity) => `${(100 * Math.sqrt(Math.min(1, messages / capacity))).toFixed(1)}%`;
    const write = (now) => {
      set(depth, `${number.format(now.depth)} / ${number.format(now.capacity)}`);
      peak.style.width = part(now.high_water, now.capacity);
      fill.style.width = part(now.depth, now.capacity);
      set(delivered, number.format(now.delivered));
      set(lost, now.dropped > 0 ? `${number.format(now.dropped)} dropped` : "");
    };
    const row = { element, write };
    this.#mailboxes.set(key, row);
    return row;
  }
}
