// Makes pages live: it asks for the page anew when the server says that something happened, and swaps the parts that changed.
// Every page works without it.
'use strict';

const byId = (id) => document.getElementById(id);

// --- The browser's time zone, once, where none was chosen. ---
function noteZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (document.body.dataset.zone || !zone || /(^|; )portal-zone=/.test(document.cookie)) return false;
  document.cookie = `portal-zone=${encodeURIComponent(zone)}; Path=/; Max-Age=31536000; SameSite=Strict`;
  return zone !== 'UTC';
}

// --- Swapping. ---
function keyOf(element) {
  return element && (element.id ? `#${CSS.escape(element.id)}` : element.dataset.key && `[data-key="${CSS.escape(element.dataset.key)}"]`);
}

function swap(now, next) {
  const focused = now.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  const scrolled = [...now.querySelectorAll('.log')].map((log) => [log.scrollTop, log.scrollTop + log.clientHeight >= log.scrollHeight - 4]);
  const picture = now.querySelector('[data-picture]');
  const nextPicture = next.querySelector('[data-picture]');
  if (picture && nextPicture) return; // it renews itself
  if (now.dataset.say !== next.dataset.say && next.dataset.say) byId('say').textContent = next.dataset.say;
  now.replaceWith(next);
  next.querySelectorAll('.log').forEach((log, index) => {
    const [top, atEnd] = scrolled[index] || [0, true];
    log.scrollTop = atEnd ? log.scrollHeight : top;
  });
  if (focused) (next.matches(focused) ? next : next.querySelector(focused) || byId('main')).focus({ preventScroll: true });
}

let asking = null;
let askAgain = false;

async function refresh() {
  if (asking) { askAgain = true; return; }
  asking = fetch(location.href, { headers: { accept: 'text/html' } });
  try {
    const answer = await asking;
    if (answer.redirected && new URL(answer.url).pathname === '/portal/sign-in') { location.href = answer.url; return; }
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const players = [document, page].map((one) => { const video = one.getElementById('player'); return video && (video.dataset.hls || 'file'); });
    // The player appears with the first segment and changes with the files: that alone is worth a new page, unless somebody watches.
    if (players[0] !== players[1] && !(byId('player') && !byId('player').paused && players[1])) { location.reload(); return; }
    for (const now of document.querySelectorAll('[data-live]')) {
      const next = page.getElementById(now.id);
      if (next && next.outerHTML !== now.dataset.was) {
        const was = next.outerHTML;
        swap(now, document.adoptNode(next));
        if (next.isConnected) next.dataset.was = was; else now.dataset.was = was;
      }
    }
    const foot = page.querySelector('.foot a[href="/portal/settings"]');
    if (foot) document.querySelector('.foot a[href="/portal/settings"]').textContent = foot.textContent;
    document.title = page.title;
    tick();
  } catch { /* the stream says when the server is back */ } finally {
    asking = null;
    if (askAgain) { askAgain = false; soon(); }
  }
}

// At once after a quiet while, and then not more often than every two seconds: a busy site has more events than anybody reads.
let timer = 0; let last = 0;
function soon() {
  clearTimeout(timer);
  timer = setTimeout(() => { last = Date.now(); refresh(); }, Math.max(150, last + 2000 - Date.now()));
}

// --- The stream. Only while the page is seen: browsers allow few connections to one host. ---
let stream = null;

function say(isLive) {
  const pulse = byId('pulse');
  if (!pulse) return;
  pulse.hidden = false;
  pulse.classList.toggle('off', !isLive);
  byId('pulse-text').textContent = isLive ? 'Live' : 'Reconnecting';
}

function listen() {
  const from = document.body.dataset.liveFrom;
  if (!from) return;
  if (document.hidden) { if (stream) stream.close(); stream = null; return; }
  if (stream) return;
  stream = new EventSource(from);
  let opened = false;
  stream.addEventListener('open', () => { say(true); if (opened) soon(); opened = true; });
  stream.addEventListener('changed', soon);
  stream.addEventListener('tick', soon);
  stream.addEventListener('error', () => {
    say(false);
    // A refusal ends an EventSource for good; an answer in between does not.
    if (stream && stream.readyState === EventSource.CLOSED) { stream = null; setTimeout(listen, 5000); }
  });
}

// --- Running times. ---
function lengthOf(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  return (hours ? `${hours}:${two(Math.floor(whole / 60) % 60)}` : `${Math.floor(whole / 60)}`) + `:${two(whole % 60)}`;
}

function tick() {
  for (const element of document.querySelectorAll('[data-since]')) {
    element.textContent = lengthOf((Date.now() - Date.parse(element.dataset.since)) / 1000);
  }
}

// --- The live picture. ---
function renewPicture() {
  const picture = document.querySelector('[data-picture]');
  if (!picture || document.hidden) return;
  const next = new Image();
  next.onload = () => { if (picture.isConnected) picture.src = next.src; };
  next.src = `${picture.getAttribute('src').split('?')[0]}?t=${Date.now()}`;
}

// --- The call in progress: its playlist's segments, one after the other, into a media source. ---
function segmentsOf(text, base) {
  let map = null; let length = 0; const found = [];
  for (const line of text.split('\n').map((one) => one.trim())) {
    const uri = /^#EXT-X-MAP:.*URI="([^"]+)"/.exec(line);
    if (uri) map = new URL(uri[1], base).href;
    else if (line.startsWith('#EXTINF:')) length = parseFloat(line.slice(8)) || 0;
    else if (line && !line.startsWith('#')) found.push({ map, length, url: new URL(line, base).href });
  }
  return { found, ended: /^#EXT-X-ENDLIST/m.test(text) };
}

function codecsOf(init) {
  const bytes = new Uint8Array(init);
  const at = (name) => {
    for (let i = 0; i + 4 < bytes.length; i += 1) if (name.every((code, j) => bytes[i + j] === code)) return i;
    return -1;
  };
  const avcc = at([0x61, 0x76, 0x63, 0x43]);
  const hex = (byte) => byte.toString(16).padStart(2, '0');
  const video = avcc < 0 ? 'avc1.42e01f' : `avc1.${hex(bytes[avcc + 5])}${hex(bytes[avcc + 6])}${hex(bytes[avcc + 7])}`;
  return `video/mp4; codecs="${video}${at([0x6d, 0x70, 0x34, 0x61]) < 0 ? '' : ', mp4a.40.2'}"`;
}

const bytesOf = async (url) => {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.arrayBuffer();
};

async function playLive(video) {
  const list = new URL(video.dataset.hls, location.href).href;
  const Source = window.ManagedMediaSource || window.MediaSource;
  if (!Source) { video.src = list; return; } // phones that play a playlist themselves
  const source = new Source();
  video.disableRemotePlayback = true;
  video.src = URL.createObjectURL(source);
  await new Promise((opened) => { source.addEventListener('sourceopen', opened, { once: true }); });
  const settled = (buffer) => new Promise((done) => { buffer.addEventListener('updateend', done, { once: true }); });
  let buffer = null; let map = ''; let start = 0; let taken = 0; let failures = 0;
  while (video.isConnected && source.readyState === 'open' && failures < 20) {
    try {
      const answer = await fetch(list);
      if (!answer.ok) throw new Error(`${answer.status}`);
      const { found, ended } = segmentsOf(await answer.text(), list);
      for (const segment of found.slice(taken)) {
        if (segment.map && segment.map !== map) {
          const init = await bytesOf(segment.map);
          if (!buffer) buffer = source.addSourceBuffer(codecsOf(init)); else buffer.changeType(codecsOf(init));
          buffer.timestampOffset = start; // each part counts from its own 0
          buffer.appendBuffer(init);
          await settled(buffer);
          map = segment.map;
        }
        const media = await bytesOf(segment.url);
        const room = video.currentTime - 60;
        if (room > 0 && buffer.buffered.length && buffer.buffered.start(0) < room - 60) { buffer.remove(0, room); await settled(buffer); }
        buffer.appendBuffer(media);
        await settled(buffer);
        start += segment.length;
        taken += 1;
        failures = 0;
        const { buffered } = buffer;
        // Shortly before the end of what there is, as soon as there is something.
        if (buffered.length && video.currentTime < buffered.start(0)) video.currentTime = buffered.start(0);
        if (taken === found.length && video.dataset.begun !== '1' && buffered.length) {
          video.dataset.begun = '1';
          video.currentTime = Math.max(buffered.start(0), buffered.end(buffered.length - 1) - 8);
          video.play().catch(() => {});
        }
      }
      if (ended) { source.endOfStream(); byId('player-say').textContent = 'The call has ended; the files are being made.'; return; }
    } catch { failures += 1; }
    await new Promise((done) => { setTimeout(done, 2000); });
  }
}

function seek(event) {
  const link = event.target.closest && event.target.closest('[data-seek]');
  const video = byId('player');
  if (!link || !video || video.dataset.hls) return;
  event.preventDefault();
  video.currentTime = Number(link.dataset.seek);
  video.scrollIntoView({ block: 'nearest' });
  video.play().catch(() => {});
}

document.addEventListener('DOMContentLoaded', () => {
  if (noteZone()) soon();
  const zone = byId('zone');
  if (zone && zone.value === 'UTC' && !document.body.dataset.zone) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
  for (const log of document.querySelectorAll('.log')) log.scrollTop = log.scrollHeight;
  const problems = byId('problems');
  if (problems) problems.focus();
  tick();
  setInterval(tick, 1000);
  setInterval(renewPicture, 3000);
  listen();
  document.addEventListener('visibilitychange', () => { listen(); if (!document.hidden) soon(); });
  document.addEventListener('click', seek);
  for (const name of ['start', 'end']) {
    const field = byId(name);
    const then = byId('when-then');
    if (field && then) field.addEventListener('input', () => { then.checked = true; });
  }
  const video = byId('player');
  if (video && video.dataset.hls) playLive(video);
});
