// A synthetic participant: a picture and a sound made here, sent to every guest in the call.
//
// The clock's picture carries a strip of 24 cells over its top sixth, read by practice_room::timecode:
//   cells 0-2 white black white | 3-18 the time in units of 10 ms modulo 65000, highest bit first | 19 parity of the even bits,
//   20 of the odd bits | 21 the flash: white for the first 100 ms of each second | 22-23 black white
import { Room } from '/assets/media.js';

const query = new URLSearchParams(location.search);
const code = location.pathname.split('/')[2];
const ends = ['ended', 'left', 'removed', 'denied'];
const frame = 1000 / 30;
// One context for all: each is a thread with a clock of its own.
const context = new AudioContext({ sampleRate: 48000 });
// The context's clock is read late on a busy machine, never early: the largest of the last readings is the truest.
const readings = [];
setInterval(() => {
  readings.push(context.currentTime - Date.now() / 1000);
  if (readings.length > 100) readings.shift();
}, 50);

class Synthetic {
  constructor(name, role, tone, canvas) {
    Object.assign(this, { name, role, tone, pen: canvas.getContext('2d', { alpha: false }), muted: false, asked: [0, 0], planned: 0 });
    this.hue = [...name].reduce((sum, letter) => sum + letter.charCodeAt(0) * 37, 0) % 360;
    this.always = query.get('speech') !== 'on-demand';
    // Each frame is drawn at a thirtieth of a second of the wall clock and captured there and then, so that what it shows, when it
    // was captured and when the beep sounds are one instant. A free-running timer and captureStream(30) were late by up to 66 ms.
    this.stream = canvas.captureStream(0);
    this.tick();
    this.stream.addTrack(this.sound());
    this.room = new Room(code, name, role, {
      state: (state) => this.entered(state),
      peers: () => {},
      speak: ({ for_ms }) => { this.asked = [this.planned, this.planned + for_ms]; },
      mute: ({ muted }) => { this.muted = muted; },
    });
    this.room.stream = this.stream;
    if (role === 'person') setInterval(() => this.tellSpeech(), 50);
  }

  entered(state) {
    this.isIn = state === 'in_call';
    document.title = `${this.name}: ${state}`;
    if (ends.includes(state)) this.stream.getTracks().forEach((track) => track.stop());
  }

  // Two seconds of speech, one of silence, or when it was asked to. Sound is planned ahead in whole seconds, so an order to speak
  // counts from the next second that is not planned yet.
  speaks(ms) {
    if (this.muted) return false;
    return (this.always && ms % 3000 < 2000) || (ms >= this.asked[0] && ms < this.asked[1]);
  }

  tellSpeech() {
    const now = this.isIn && this.speaks(Date.now());
    if (now !== Boolean(this.told)) this.room.say({ type: 'speaking', on: now });
    this.told = now;
  }

  tick() {
    const now = Date.now();
    if (this.role === 'clock') this.drawClock(now); else this.drawPerson(now);
    this.stream.getVideoTracks()[0].requestFrame();
    setTimeout(() => this.tick(), (Math.floor(now / frame) + 1) * frame - Date.now() + 0.5);
  }

  drawStrip(ms) {
    const { pen } = this;
    const value = Math.floor(ms / 10) % 65000;
    const bits = Array.from({ length: 16 }, (_, index) => (value >> (15 - index)) & 1);
    const parity = (from) => bits.reduce((sum, bit, index) => (index % 2 === from ? sum ^ bit : sum), 0);
    const cells = [1, 0, 1, ...bits, parity(0), parity(1), ms % 1000 < 100 ? 1 : 0, 0, 1];
    cells.forEach((cell, index) => {
      pen.fillStyle = cell ? '#fff' : '#000';
      const left = Math.round((index * 640) / 24);
      pen.fillRect(left, 0, Math.round(((index + 1) * 640) / 24) - left, 60);
    });
  }

  drawClock(ms) {
    const { pen } = this;
    pen.fillStyle = '#16324f';
    pen.fillRect(0, 60, 640, 300);
    const angle = ((ms % 60000) / 60000) * 2 * Math.PI - Math.PI / 2;
    pen.strokeStyle = '#8ab4f8';
    pen.lineWidth = 6;
    pen.beginPath();
    pen.arc(150, 220, 90, 0, 2 * Math.PI);
    pen.moveTo(150, 220);
    pen.lineTo(150 + 80 * Math.cos(angle), 220 + 80 * Math.sin(angle));
    pen.stroke();
    pen.fillStyle = '#e8eaed';
    pen.font = '56px "Liberation Sans", Arial';
    pen.fillText(new Date(ms).toISOString().slice(11, 21), 280, 235);
    pen.font = '22px "Liberation Sans", Arial';
    pen.fillText(`${this.name}, the clock`, 282, 280);
    this.drawStrip(ms);
  }

  drawPerson(ms) {
    const { pen } = this;
    const t = ms / 1000;
    pen.fillStyle = `hsl(${this.hue} 16% 28%)`;
    pen.fillRect(0, 0, 640, 360);
    const sway = 14 * Math.sin(t * 1.3);
    pen.fillStyle = '#e0ac69';
    pen.beginPath();
    pen.ellipse(320 + sway, 160, 80, 100, 0, 0, 2 * Math.PI);
    pen.fill();
    pen.fillStyle = `hsl(${(this.hue + 200) % 360} 42% 40%)`;
    pen.beginPath();
    pen.ellipse(320 + sway / 2, 370, 170, 110, 0, 0, 2 * Math.PI);
    pen.fill();
    pen.fillStyle = '#222';
    for (const side of [-30, 30]) { pen.beginPath(); pen.arc(320 + sway + side, 140, 8, 0, 2 * Math.PI); pen.fill(); }
    pen.beginPath();
    pen.ellipse(320 + sway, 205, 26, this.speaks(ms) ? 6 + 8 * Math.abs(Math.sin(t * 9)) : 3, 0, 0, 2 * Math.PI);
    pen.fill();
  }

  sound() {
    const out = context.createMediaStreamDestination();
    this.planned = Math.ceil(Date.now() / 1000) * 1000 + 2000;
    setInterval(() => {
      while (this.planned < Date.now() + 1500) {
        this.plan(out, this.planned / 1000 + Math.max(...readings));
        this.planned += 1000;
      }
    }, 200);
    return out.stream.getAudioTracks()[0];
  }

  // One second of sound, from the context's time `from`.
  plan(out, from) {
    if (from <= context.currentTime) return;
    if (this.role === 'clock') beep(out, from, this.tone, 0.1, 0.5);
    if (this.role === 'person' && this.speaks(this.planned)) {
      for (let syllable = 0; syllable < 5; syllable += 1) beep(out, from + syllable * 0.2, this.tone + 40 * (syllable % 3), 0.15, 0.12);
    }
  }
}

// A tone with edges soft enough not to click.
function beep(out, from, hz, seconds, loud) {
  const oscillator = context.createOscillator();
  const gain = context.createGain();
  oscillator.frequency.value = hz;
  gain.gain.setValueAtTime(0, from);
  gain.gain.linearRampToValueAtTime(loud, from + 0.004);
  gain.gain.setValueAtTime(loud, from + seconds - 0.004);
  gain.gain.linearRampToValueAtTime(0, from + seconds);
  oscillator.connect(gain).connect(out);
  oscillator.start(from);
  oscillator.stop(from + seconds);
}

const role = query.get('role') === 'clock' ? 'clock' : 'person';
new Synthetic(query.get('name') || 'Somebody', role, Number(query.get('tone')) || (role === 'clock' ? 1000 : 330), document.querySelector('canvas'));
query.getAll('with').forEach((name, index) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
  document.body.append(canvas);
  new Synthetic(name, 'person', 370 + 50 * index, canvas);
});
