// The guest's page: device prompt, name, lobby, call, and each way out, with the signals of the client that it replicates.
import { Room } from '/assets/media.js';

const code = location.pathname.split('/')[2];
const settings = window.SETTINGS;
const $ = (selector) => document.querySelector(selector);
const stages = ['prejoin', 'lobby', 'call', 'message'];
const show = (name) => stages.forEach((stage) => $(`#${stage}`).classList.toggle('on', stage === name));
const message = (text, className) => {
  $('#message-text').textContent = text;
  $('#message-text').className = className || '';
  show('message');
};

let room = null;
let own = 'You';
const tiles = new Map();
window.__practice = { presented: 0 };

const closed = {
  blocked: () => message('You can’t join this video call'),
  not_found: () => message('Check your meeting code'),
  sign_in: () => { message('Sign in'); $('#message-text').insertAdjacentHTML('afterend', '<p>Use your Google Account</p>'); },
  blank: () => {},
};
if (closed[settings.page]) closed[settings.page](); else openPrejoin();

function openPrejoin() {
  show('prejoin');
  $('#join span').textContent = settings.lobby || settings.waiting_for_host ? 'Ask to join' : 'Join now';
  $('#devices').hidden = !settings.device_prompt;
  $('#no-devices').onclick = () => {
    $('#devices').hidden = true;
    document.querySelectorAll('#prejoin [data-toggle]').forEach(turnOff);
  };
  document.querySelectorAll('#prejoin [data-toggle]').forEach((button) => { button.onclick = () => turnOff(button); });
  $('#join').onclick = () => {
    own = $('input').value.trim();
    if (own) join();
  };
}

function turnOff(button) { button.setAttribute('aria-label', `Turn on ${button.dataset.toggle}`); }

function join() {
  room = new Room(code, own, 'guest', { state: entered, peers: seat, track: play });
  document.querySelectorAll('[aria-label="Leave call"]').forEach((button) => { button.onclick = () => room.leave(); });
}

function entered(state, now) {
  if (state === 'waiting') {
    $('#lobby-title').textContent = now.waiting_for_host ? 'Waiting for the host to join' : 'Asking to be let in…';
    show('lobby');
  }
  if (state === 'in_call') {
    $('#code').textContent = code;
    $('#consent').hidden = !now.consent_dialog;
    $('#consent button').onclick = () => { $('#consent').hidden = true; };
    show('call');
    seat([]);
  }
  const ends = {
    denied: 'Someone in the call denied your request to join',
    timed_out: 'No one responded to your request to join the call',
    removed: 'You’ve been removed from the meeting',
    left: 'You left the meeting',
    ended: 'Your host ended the meeting for everyone',
  };
  if (ends[state]) {
    document.querySelectorAll('video').forEach((video) => { video.srcObject = null; });
    tiles.forEach((tile) => tile.remove());
    tiles.clear();
    message(ends[state], state === 'ended' ? 'roSPhc' : '');
  }
}

// Tiles: the clock large at its fixed place, everybody else in the column at the right.
function seat(peers) {
  const everyone = [...peers, { id: 'self', name: own, role: 'self' }];
  for (const [id, tile] of tiles) {
    if (!everyone.some((one) => one.id === id)) { tile.remove(); tiles.delete(id); }
  }
  let row = 0;
  for (const one of everyone) {
    const tile = tiles.get(one.id) || newTile(one);
    if (one.role !== 'clock') {
      Object.assign(tile.style, { left: '1000px', top: `${72 + row * 152}px`, width: '256px', height: '144px' });
      row += 1;
    }
  }
  const count = String(everyone.length);
  $('#badge').textContent = count;
  $('#badge').dataset.avatarCount = count;
  $('#people').setAttribute('aria-label', `People - ${count} joined`);
  $('#note').textContent = peers.length ? '' : 'No one else is here';
}

function newTile(one) {
  const tile = document.createElement('div');
  tile.className = `tile ${one.role}`;
  tile.dataset.participantId = one.id;
  tile.dataset.audioLevel = '0';
  tile.innerHTML = '<div class="initial"></div><div class="name"></div>';
  tile.querySelector('.initial').textContent = one.name.slice(0, 1).toUpperCase();
  tile.querySelector('.name').textContent = one.role === 'clock' ? '' : one.name;
  if (one.role === 'self') tile.dataset.selfName = one.name;
  tiles.set(one.id, tile);
  $('#tiles').append(tile);
  return tile;
}

function play(id, stream) {
  const tile = tiles.get(id);
  if (!tile || tile.querySelector('video')) return;
  const video = document.createElement('video');
  Object.assign(video, { autoplay: true, playsInline: true, srcObject: stream });
  tile.prepend(video);
  tile.querySelector('.initial').remove();
  video.play().catch(() => {});
  const peer = room.peers.get(id);
  if (peer && peer.role === 'clock') countFrames(video);
  measureLevel(id, tile);
}

// How many frames of the clock this page presented, and in how many fifteenths of a second it presented at least one: what a
// recording at 15 frames a second can hold at most.
function countFrames(video) {
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
  setInterval(() => room.say({ type: 'presented', data: { frames: seen.presented, at_15_a_second: seen.at15 || 0 } }), 500);
}

function measureLevel(id, tile) {
  const timer = setInterval(async () => {
    const connection = room.connections.get(id);
    if (!connection || !tile.isConnected) { clearInterval(timer); return; }
    const reports = [...(await connection.getStats()).values()];
    const sound = reports.find((report) => report.type === 'inbound-rtp' && report.kind === 'audio');
    const level = sound && sound.audioLevel > 0.01 ? sound.audioLevel : 0;
    tile.dataset.audioLevel = level ? level.toFixed(2) : '0';
    tile.classList.toggle('speaking', level > 0);
  }, 500);
}
