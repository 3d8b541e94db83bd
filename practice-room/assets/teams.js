// Microsoft Teams' light client for guests: what it shows in each state. The rest is client.js.
import { Client, ask, at, code, elsewhere, every, givenPasscode, pageText, settings, show } from '/assets/client.js';
import { makeTrouble } from '/assets/trouble.js';

const message = (text, more = '') => {
  at('message-text').textContent = text;
  at('message-more').textContent = more;
  show('message');
};

function wall(text, inside = '') {
  at('wall').innerHTML = `<h1></h1>${inside}`;
  at('wall').querySelector('h1').textContent = text;
  show('wall');
}

// Shown as soon as the client is there; the others once somebody asks to join.
const atOnce = {
  not_found: () => wall(pageText('Looks like the meeting URL is incorrect. Please check the URL and try again.')),
  sign_in: () => wall(pageText('We need to verify your info before you can join'), '<button class="primary">Sign in</button>'),
  sign_in_elsewhere: () => elsewhere('/signin/teams'),
  registration: () => wall(pageText('Register for this event'), '<p>Registration is required.</p><input type="text" placeholder="First name"><input type="email" placeholder="Email"> <button class="primary">Register</button>'),
  blank: () => makeTrouble('blank', 0),
};
const onJoining = {
  captcha: () => wall(pageText('Verify you’re a real person'), '<p>Enter the characters you see</p><input type="text" aria-label="Characters">'),
  blocked: () => message(pageText('Sorry, but you were denied access to the meeting')),
  could_not_connect: () => {
    const end = at('message-text').parentElement;
    if ((settings.page_text || '').includes('encryption')) end.dataset.tid = 'calling-e2ee-end-screen';
    message(pageText('Sorry, we couldn’t connect you'));
  },
};

const ends = {
  denied: ['Sorry, but you were denied access to the meeting'],
  timed_out: ['Sorry, no one responded to your request to join'],
  removed: ['You’ve been removed from this meeting'],
  left: ['You left the meeting'],
  ended: ['The meeting has ended'],
};

let reconnects = false;
const client = new Client({
  waiting(now) {
    at('lobby-title').textContent = now.waiting_for_host ? 'The meeting hasn’t started' : 'Someone will let you in shortly';
    at('lobby-text').textContent = now.waiting_for_host ? 'We’ll let people know that you’re waiting for the organizer' : 'Your request to join has been sent';
    show('lobby');
  },
  entered(now) {
    at('code').textContent = code;
    show('call');
    if (now.consent_dialog) ask('consent');
    if (now.tips) ask('tip');
  },
  over: (state) => message(...ends[state]),
  wrongPasscode: () => askPasscode('The passcode you entered is incorrect.'),
  tile(tile, one) {
    Object.assign(tile.dataset, { streamType: 'Video', tid: one.name, cid: 'calling-participant-stream' });
    tile.setAttribute('role', 'menuitem');
    tile.setAttribute('aria-label', `${one.name}${one.role === 'self' ? ' (You)' : ''}, video is on`);
       tile.innerHTML = '<div class="outline" data-tid="voice-level-stream-outline"></div><div class="name"></div>';
    tile.querySelector('.name').textContent = one.name;
  },
  row(row, one) {
    row.setAttribute('role', 'treeitem');
    row.dataset.tid = 'roster-participant';
    row.setAttribute('aria-label', one.role === 'self' ? `${one.name} (You)` : one.name);
    row.textContent = one.role === 'self' ? `${one.name} (You)` : one.name;
  },
  speaking({ tile }, on) {
    tile.querySelector('.outline').classList.toggle('vdi-frame-occlusion', on);
  },
  count(count) {
    at('people').textContent = `People ${count}`;
    if (!reconnects) at('note').textContent = count > 1 ? '' : 'You’re the only one here';
  },
  line(item, line) {
    item.dataset.tid = 'chat-pane-message';
    item.dataset.mid = line.id;
    item.innerHTML = '<b data-tid="message-author-name"></b><div data-tid="messageBodyContent"></div>';
    item.querySelector('b').textContent = line.name;
    item.querySelector('div').textContent = line.text;
  },
  reconnecting(on) {
    reconnects = on;
    at('note').textContent = on ? 'Trying to reconnect…' : '';
  },
});

const turnOff = (button) => {
  button.setAttribute('aria-checked', 'false');
  button.setAttribute('aria-label', button.dataset.off);
};
every('toggle').forEach((button) => { button.onclick = () => turnOff(button); });
every('leave').forEach((button) => { button.onclick = () => client.leave(); });

at('dismiss').onclick = () => wall('Enjoy your day');

let passcode = givenPasscode;

function askPasscode(problem = '') {
  at('passcode-problem').textContent = problem;
  show('passcode');
  at('give-passcode').onclick = () => {
    passcode = at('passcode').value.trim();
    at('passcode').value = '';
    if (passcode) openPrejoin();
  };
}

function openPrejoin() {
  show('prejoin');
  if (settings.device_warning) ask('warning');
  if (settings.tips) ask('tip');
  if (settings.device_prompt) ask('devices', () => every('toggle').forEach(turnOff));
  at('join').onclick = () => {
    const name = at('name').value.trim();
    if (!name) return;
    if (onJoining[settings.page]) onJoining[settings.page](); else client.join(name, passcode);
  };
}

if (atOnce[settings.page]) atOnce[settings.page]();
else if (settings.wants_passcode && !passcode) askPasscode();
else openPrejoin();
