// Google Meet's guest view: what it shows in each state. The rest is client.js.
import { Client, ask, at, code, elsewhere, every, pageText, settings, show } from '/assets/client.js';
import { makeTrouble } from '/assets/trouble.js';

const message = (text, className = '', more = '') => {
  at('message-text').textContent = text;
  at('message-text').className = className;
  at('message-more').textContent = more;
  show('message');
};

const captcha = () => {
  message('Verify it’s you');
  at('captcha').innerHTML = '<iframe src="/recaptcha/api2/anchor?k=practice" width="304" height="78"></iframe>';
};

const closed = {
  blocked: () => message(pageText('You can’t join this video call')),
  not_found: () => message(pageText('Check your meeting code')),
  sign_in: () => message(pageText('Sign in'), '', 'Use your Google Account'),
  sign_in_elsewhere: () => elsewhere('/signin/meet'),
  captcha,
  registration: () => message(pageText('Register to join this event')),
  could_not_connect: () => message(pageText('There is a problem connecting to this video call')),
  blank: () => makeTrouble('blank', 0),
};

const ends = {
  denied: ['Someone in the call denied your request to join'],
  timed_out: ['No one responded to your request to join the call'],
  removed: ['You’ve been removed from the meeting'],
  left: ['You left the meeting'],
  ended: ['Your host ended the meeting for everyone', 'roSPhc'],
};

let reconnects = false;
const client = new Client({
  waiting(now) {
    at('lobby-title').textContent = now.waiting_for_host ? 'Waiting for the host to join' : 'Asking to be let in…';
    at('lobby-text').textContent = now.waiting_for_host ? '' : 'You’ll join the call when someone lets you in';
    show('lobby');
  },
  beforeCall(now, go) {
    if (now.notes_question) ask('notes', go);
    return now.notes_question;
  },
  entered(now) {
    at('code').textContent = code;
    show('call');
    if (now.consent_dialog) ask('consent');
    if (now.tips) ask('tip');
  },
  over: (state) => message(...ends[state]),
  wrongPasscode: () => message('Check your meeting code'),
  tile(tile, one) {
    tile.dataset.participantId = `spaces/${code}/devices/${one.id}`;
    tile.dataset.audioLevel = '0';
    tile.innerHTML = '<div class="gjg47c"></div><div class="name"><span class="notranslate"></span></div>';
    tile.querySelector('.name span').textContent = one.name;
    if (one.role === 'self') tile.dataset.selfName = one.name;
  },
  row(row, one) {
    row.setAttribute('role', 'listitem');
    row.setAttribute('aria-label', one.name);
    row.dataset.participantId = `spaces/${code}/devices/${one.id}`;
    row.textContent = one.role === 'self' ? `${one.name} (You)` : one.name;
  },
  speaking({ tile }, on, level) {
    tile.dataset.audioLevel = on ? String(level || 0.1) : '0';
    tile.querySelector('.gjg47c, .Oaajhc').className = on ? 'Oaajhc HX2H7' : 'gjg47c';
  },
  count(count) {
    at('badge').textContent = String(count);
    at('badge').dataset.avatarCount = String(count);
    at('people').setAttribute('aria-label', `People - ${count} joined`);
    if (!reconnects) at('note').textContent = count > 1 ? '' : 'No one else is here';
  },
  line(item, line) {
    item.dataset.messageId = line.id;
    item.innerHTML = '<b></b><div jsname="dTKtvb"></div>';
    item.querySelector('b').textContent = line.own ? 'You' : line.name;
    item.querySelector('div').textContent = line.text;
  },
  reconnecting(on) {
    reconnects = on;
    at('note').textContent = on ? 'You lost your network connection. Trying to reconnect.' : '';
  },
});

const turnOff = (button) => button.setAttribute('aria-label', `Turn on ${button.dataset.device}`);
every('toggle').forEach((button) => { button.onclick = () => turnOff(button); });
every('leave').forEach((button) => { button.onclick = () => client.leave(); });

function prompts() {
  if (settings.account_prompt) ask('account');
  if (settings.device_warning) ask('warning');
  if (settings.tips) ask('tip');
  if (settings.device_prompt) ask('devices', () => every('toggle').forEach(turnOff));
}

function openPrejoin() {
  show('prejoin');
  const label = settings.lobby || settings.waiting_for_host ? 'Ask to join' : 'Join now';
  at('join').querySelector('span').textContent = settings.join_label || label;
  prompts();
  at('join').onclick = () => {
    const name = at('name').value.trim();
    if (!name) return;
    if (settings.recording_notice) ask('notice', () => client.join(name)); else client.join(name);
  };
}

if (closed[settings.page]) closed[settings.page](); else openPrejoin();
