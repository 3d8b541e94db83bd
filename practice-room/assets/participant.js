// A synthetic participant: a picture and a sound made here, sent to every guest in the call.
//
// The clock's picture carries a strip of 24 cells over its top sixth, read by practice_room::timecode:
//   cells 0-2 white black white | 3-18 the time in units of 10 ms modulo 65000, highest bit first | 19 parity of the even bits,
//   20 of the odd bits | 21 the flash: white for the first 100 ms of each second | 22-23 black white
import { Room } from '/assets/media.js';

const query = new URLSearchParams(location.search);
const code = location.pathname.split('/')[2];
const name = query.get('name') || 'Somebody';
const role = query.get('role') === 'clock' ? 'clock' : 'person';
const tone = Number(query.get('tone')) || (role === 'clock' ? 1000 : 330);
const canvas = document.querySelector('canvas');
const pen = canvas.getContext('2d', { alpha: false });

function strip(ms) {
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

function drawClock(ms) {
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
  pen.fillText(`${name}, the clock`, 282, 280);
  strip(ms);
}

function drawPerson(ms) {
  const t = ms / 1000;
  pen.fillStyle = '#4a3b52';
  pen.fillRect(0, 0, 640, 360);
  const sway = 14 * Math.sin(t * 1.3);
  pen.fillStyle = '#e0ac69';
  pen.beginPath();
  pen.ellipse(320 + sway, 160, 80, 100, 0, 0, 2 * Math.PI);
  pen.fill();
  pen.fillStyle = '#3b6e8f';
  pen.beginPath();
  pen.ellipse(320 + sway / 2, 370, 170, 110, 0, 0, 2 * Math.PI);
  pen.fill();
  pen.fillStyle = '#222';
  for (const side of [-30, 30]) { pen.beginPath(); pen.arc(320 + sway + side, 140, 8, 0, 2 * Math.PI); pen.fill(); }
  pen.beginPath();
  pen.ellipse(320 + sway, 205, 26, speaks(ms) ? 6 + 8 * Math.abs(Math.sin(t * 9)) : 3, 0, 0, 2 * Math.PI);
  pen.fill();
}

// Two seconds of speech, one of silence.
const speaks = (ms) => ms % 3000 < 2000;

function sound() {
  const context = new AudioContext({ sampleRate: 48000 });
  const out = context.createMediaStreamDestination();
  // A tone at the context's time `at`, with edges soft enough not to click.
  const beep = (at, hz, seconds, loud) => {
    const oscillator = context.createOscillator();
    const gain = context.createGain();
    oscillator.frequency.value = hz;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(loud, at + 0.004);
    gain.gain.setValueAtTime(loud, at + seconds - 0.004);
    gain.gain.linearRampToValueAtTime(0, at + seconds);
    oscillator.connect(gain).connect(out);
    oscillator.start(at);
    oscillator.stop(at + seconds);
  };
  let planned = Math.ceil(Date.now() / 1000) * 1000 + 2000;
  // The context's clock is read late on a busy machine, never early: the largest of the last readings is the truest.
  const readings = [];
  setInterval(() => {
    readings.push(context.currentTime - Date.now() / 1000);
    if (readings.length > 100) readings.shift();
  }, 50);
  setInterval(() => {
    const now = Date.now();
    while (planned < now + 1500) {
      const at = planned / 1000 + Math.max(...readings);
      if (at > context.currentTime && role === 'clock') beep(at, tone, 0.1, 0.5);
      if (at > context.currentTime && role === 'person' && speaks(planned)) {
        for (let syllable = 0; syllable < 5; syllable += 1) beep(at + syllable * 0.2, tone + 40 * (syllable % 3), 0.15, 0.12);
      }
      planned += 1000;
    }
  }, 200);
  return out.stream.getAudioTracks()[0];
}

const draw = role === 'clock' ? drawClock : drawPerson;
// Each frame is drawn at a thirtieth of a second of the wall clock and captured there and then, so that what it shows, when it
// was captured and when the beep sounds are one instant. A free-running timer and captureStream(30) were late by up to 66 ms.
const stream = canvas.captureStream(0);
const frame = 1000 / 30;
function tick() {
  const now = Date.now();
  draw(now);
  stream.getVideoTracks()[0].requestFrame();
  setTimeout(tick, (Math.floor(now / frame) + 1) * frame - Date.now() + 0.5);
}
tick();
stream.addTrack(sound());
const ends = ['ended', 'left', 'removed', 'denied'];
const room = new Room(code, name, role, {
  state: (state) => { document.title = `${name}: ${state}`; if (ends.includes(state)) stream.getTracks().forEach((track) => track.stop()); },
  peers: () => {},
});
room.stream = stream;
