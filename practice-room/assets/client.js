// What the clients of all platforms share: the way through a room's states, tiles with real media, the list of people, chat.
// A platform's skin says what each of them looks like. Elements are found by `data-at`, so that everything that a real client shows
// of itself (ids, labels, texts) is free to drift.
import { Room } from '/assets/media.js';
import { drift, popUp } from '/assets/drift.js';
import { makeTrouble } from '/assets/trouble.js';

export const settings = window.SETTINGS;
export const code = location.pathname.split('/')[2];
export const query = new URLSearchParams(location.search);
export const givenPasscode = query.get('passcode') || query.get('pwd') || query.get('p') || '';
export const at = (name) => document.querySelector(`[data-at="${name}"]`);
export const every = (name) => [...document.querySelectorAll(`[data-at="${name}"]`)];
export const show = (name) => document.querySelectorAll('.stage').forEach((stage) => stage.classList.toggle('on', stage.id === name));
export const pageText = (usual) => settings.page_text || usual;
export const elsewhere = (path) => {
  const host = location.hostname === '127.0.0.1' ? 'localhost' : '127.0.0.1';
  window.top.location.href = `http://${host}:${location.port}${path}`;
};

const over = ['denied', 'timed_out', 'removed', 'left', 'ended'];

export class Client {
  constructor(skin) {
    this.skin = skin;
    this.seats = new Map();
    this.peers = [];
    this.vanished = new Set();
    this.own = 'You';
    window.__practice = { presented: 0 };
    drift(settings.drift);
    if (settings.trouble) makeTrouble(settings.trouble, 0);
    this.wirePanes();
  }

  // Asks to join.
  join(name, passcode = givenPasscode) {
    this.own = name;
    this.room = new Room(code, name, 'guest', {
      state: (state, now) => this.enter(state, now),
      peers: (peers) => { this.peers = peers; this.seat(); },
      track: (id, stream) => this.play(id, stream),
      chat: (line) => this.hear(line),
      speaking: ({ id, on }) => this.speak(id, on, on ? 0.5 : 0),
      vanish: (who) => this.vanish(who),
      outage: ({ on }) => { if (on) this.room.drop(); this.skin.reconnecting(on); },
      pop_up: () => popUp(),
      trouble: ({ how, mib }) => makeTrouble(how, mib),
      wrong_passcode: () => this.skin.wrongPasscode(),
    }, passcode);
  }

  leave() { if (this.room) this.room.leave(); }

  enter(state, now) {
    if (state === 'waiting') this.skin.waiting(now);
    if (state === 'in_call') {
      const go = () => { this.skin.entered(now); this.seat(); drift.inCall(); };
      if (this.skin.beforeCall && this.skin.beforeCall(now, go)) return;
      go();
    }
    if (over.includes(state)) {
      document.querySelectorAll('video').forEach((video) => { video.srcObject = null; });
      for (const seat of this.seats.values()) { seat.tile.remove(); seat.row.remove(); }
      this.seats.clear();
      this.peers = [];
      this.skin.over(state);
    }
  }

  // Tiles: the clock large at its fixed place, everybody else in the columns at the right.
  seat() {
    if (!at('tiles')) return;
    const everyone = [...this.peers, { id: 'self', name: this.own, role: 'self', muted: true }].filter((one) => !this.vanished.has(one.id));
    for (const [id, seat] of this.seats) {
      if (!everyone.some((one) => one.id === id)) { seat.tile.remove(); seat.row.remove(); this.seats.delete(id); }
    }
    everyone.forEach((one) => this.seats.get(one.id) || this.newSeat(one));
    place(everyone.filter((one) => one.role !== 'clock').map((one) => this.seats.get(one.id).tile));
    this.skin.count(everyone.length, everyone);
  }

  newSeat(one) {
    const tile = document.createElement('div');
    tile.className = `tile ${one.role}`;
    const row = document.createElement('div');
    row.className = 'row';
    const seat = { one, tile, row };
    this.seats.set(one.id, seat);
    this.skin.tile(tile, one);
    this.skin.row(row, one);
    const initial = document.createElement('div');
    initial.className = 'initial';
    initial.textContent = one.name.slice(0, 1).toUpperCase();
    tile.prepend(initial);
    at('tiles').append(tile);
    at('roster').append(row);
    if (one.stream || (this.streams && this.streams.get(one.id))) this.play(one.id, this.streams.get(one.id));
    return seat;
  }

  play(id, stream) {
    this.streams = (this.streams || new Map()).set(id, stream);
    const seat = this.seats.get(id);
    if (!seat) return;
    let video = seat.tile.querySelector('video');
    if (!video) {
      video = document.createElement('video');
      Object.assign(video, { autoplay: true, playsInline: true });
      seat.tile.prepend(video);
      seat.tile.querySelector('.initial').hidden = true;
      if (seat.one.role === 'clock') this.countFrames(video);
      this.measureLevel(id, seat);
    }
    if (video.srcObject !== stream) video.srcObject = stream;
    video.play().catch(() => {});
  }

  vanish({ id, for_ms }) {
    this.vanished.add(id);
    this.seat();
    setTimeout(() => { this.vanished.delete(id); this.seat(); }, for_ms);
  }

  speak(id, on, level) {
    const seat = this.seats.get(id);
    if (!seat || (seat.on === on && seat.level === level)) return;
    Object.assign(seat, { on, level });
    seat.tile.classList.toggle('speaking', on);
    this.skin.speaking(seat, on, level);
  }

  // The level of the sound that really arrives. A pause between syllables is no end of speaking. The clock beeps, it does not speak.
  measureLevel(id, seat) {
    let heard = 0;
    const timer = setInterval(async () => {
      if (!seat.tile.isConnected) { clearInterval(timer); return; }
      const connection = this.room.connections.get(id);
      const reports = connection ? [...(await connection.getStats()).values()] : [];
      const sound = reports.find((report) => report.type === 'inbound-rtp' && report.kind === 'audio');
      const level = sound && sound.audioLevel > 0.01 ? sound.audioLevel : 0;
      if (level) heard = performance.now();
      const on = seat.one.role !== 'clock' && performance.now() - heard < 450 && heard > 0;
      this.speak(id, on, on ? Math.round((level || seat.level || 0.1) * 100) / 100 : 0);
    }, 200);
  }

  // How many frames of the clock this page presented, and in how many fifteenths of a second it presented at least one: what a
  // recording at 15 frames a second can hold at most.
  countFrames(video) {
    const seen = window.__practice;
    let slot = -1;
    const step = (now) => {
      const current = Math.floor(now / (1000 / 15));
      seen.presented += 1;
      seen.at15 = (seen.at15 || 0) + (current === slot ? 0 : 1);
      slot = current;
      video.requestVideoFrameCallback(step);
    };
    video.requestVideoFrameCallback(step);
    setInterval(() => this.room.say({ type: 'presented', data: { frames: seen.presented, at_15_a_second: seen.at15 || 0 } }), 500);
  }

  hear(line) {
    const item = document.createElement('div');
    item.className = 'line';
    item.id = `chat-${line.id}`;
    this.skin.line(item, { ...line, own: this.room && line.from === this.room.id });
    at('chat-list').append(item);
    item.scrollIntoView({ block: 'nearest' });
  }

  // A button with data-opens shows that pane, or hides it; a chat field sends at Enter.
  wirePanes() {
    document.querySelectorAll('[data-opens]').forEach((button) => {
      button.onclick = () => {
        const pane = at(button.dataset.opens);
        document.querySelectorAll('.pane').forEach((other) => { other.hidden = other !== pane || !pane.hidden; });
        const field = pane.querySelector('[data-at="chat-field"]');
        if (field && !pane.hidden) field.focus();
      };
    });
    document.querySelectorAll('[data-closes]').forEach((button) => { button.onclick = () => { at(button.dataset.closes).hidden = true; }; });
    const field = at('chat-field');
    if (!field) return;
    const send = () => {
      const text = (field.value === undefined ? field.textContent : field.value).trim();
      if (!text) return;
      this.room.say({ type: 'chat', text });
      if (field.value === undefined) field.textContent = ''; else field.value = '';
    };
    field.onkeydown = (event) => { if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); send(); } };
    if (at('chat-send')) at('chat-send').onclick = send;
  }
}

// Up to three in one column, more in two of half the size.
function place(tiles) {
  const small = tiles.length > 3;
  tiles.forEach((tile, index) => {
    const [column, line] = small ? [index % 2, Math.floor(index / 2)] : [0, index];
    const [width, height] = small ? [124, 84] : [256, 144];
    Object.assign(tile.style, { left: `${1000 + column * 132}px`, top: `${72 + line * (height + 8)}px`, width: `${width}px`, height: `${height}px` });
  });
}

// A dialog whose button hides it and then does `then`.
export function ask(name, then = () => {}) {
  const dialog = at(name);
  dialog.hidden = false;
  dialog.querySelectorAll('[data-answers]').forEach((button) => {
    button.onclick = () => { dialog.hidden = true; then(button); };
  });
}
