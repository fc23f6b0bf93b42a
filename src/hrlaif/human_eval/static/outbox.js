// Votes on their way to the disk of the server. A vote is kept in the browser until the server says that it is saved, so
// that neither a closed browser nor a server that is down loses it; its id makes sending it twice the same as once.

const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 3000;

export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Outbox {
  constructor(key, { send, changed }) {
    this.key = `hrlaif.votes.${key}`;
    this.send = send;
    this.changed = changed;
    this.isSending = false;
    this.problem = "";
    this.withoutStorage = [];
  }

  votes() {
    try {
      return JSON.parse(localStorage.getItem(this.key) ?? "[]");
    } catch {
      return this.withoutStorage;
    }
  }

  keep(votes) {
    try {
      localStorage.setItem(this.key, JSON.stringify(votes));
    } catch {
      this.withoutStorage = votes;
    }
  }

  add(vote) {
    this.keep([...this.votes(), vote]);
    this.changed();
    this.flush();
  }

  remove(id) {
    this.keep(this.votes().filter((vote) => vote.id !== id));
  }

  async flush() {
    if (this.isSending) return;
    this.isSending = true;
    let wait = FIRST_WAIT_MS;
    try {
      for (let votes = this.votes(); votes.length; votes = this.votes()) {
        const outcome = await this.send(votes[0]);
        if (outcome === "saved") {
          this.remove(votes[0].id);
          this.problem = "";
          wait = FIRST_WAIT_MS;
          this.changed();
          continue;
        }
        // What the server will not take holds up none of the others.
        if (outcome === "refused") this.keep([...this.votes().filter((vote) => vote.id !== votes[0].id), votes[0]]);
        this.problem = outcome;
        this.changed();
        if (outcome === "closed") return;
        await new Promise((resolve) => setTimeout(resolve, wait));
        wait = Math.min(2 * wait, LONGEST_WAIT_MS);
      }
    } finally {
      this.isSending = false;
    }
  }
}
