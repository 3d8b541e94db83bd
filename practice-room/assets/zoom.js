// Zoom's web client: what it shows in each state, in a frame of its page or by itself. The rest is client.js.
import { Client, ask, at, code, elsewhere, every, givenPasscode, pageText, settings, show } from '/assets/client.js';
import { makeTrouble } from '/assets/trouble.js';

const title = (text) => { window.top.document.title = text; document.title = text; };

function wall(text, inside = '') {
  at('wall').innerHTML = `<h1></h1>${inside}`;
  at('wall').querySelector('h1').textContent = text;
  show('message');
}

// Shown as soon as the client is there; the others once somebody asks to join.
const atOnce = {
  not_found() { title('Error - Zoom'); wall(pageText('This meeting link is invalid (3,001)')); },
  sign_in_elsewhere: () => elsewhere('/signin/zoom'),
  registration: () => wall(pageText('Meeting Registration'), '<p>Please register to join this meeting.</p><input type="text" placeholder="First Name"> <input type="email" placeholder="Email Address"> <button class="primary">Register</button>'),
  blank: () => makeTrouble('blank', 0),
};
const onJoining = {
  blocked: () => wall(pageText('Automated bots aren’t allowed to join this meeting'), '<p>This app must use Zoom RTMS.</p>'),
  sign_in: () => wall(pageText('The host requires authentication on the commercial Zoom platform to join this meeting'), '<button class="zm-btn login-btn-zoom primary">Sign in Zoom</button>'),
  could_not_connect() { title('Error - Zoom'); wall(pageText('Your network connection has timed out or your organization has disabled access to Zoom from the browser')); },
  captcha() {
    at('captcha').innerHTML = '<iframe src="/recaptcha/api2/anchor?k=practice" width="304" height="78"></iframe><br><button class="zm-btn">check captcha</button>';
  },
};

// Zoom answers no request of its own accord: a waiting room that nobody looks at stands for ever.
const ends = {
  denied: 'You have been removed from the waiting room by the host',
  removed: 'You have been removed from the meeting by the host',
  left: 'You have left the meeting',
  ended: 'This meeting has been ended by host',
};

let reconnects = false;
const client = new Client({
  waiting(now) {
    at('lobby-title').textContent = now.waiting_for_host ? 'Waiting for the host to start this meeting' : 'Please wait, the meeting host will let you in soon.';
    at('lobby-text').textContent = now.waiting_for_host ? '' : 'Host has joined. We’ve let them know you’re here.';
    show('lobby');
  },
  entered(now) {
    at('code').textContent = code;
    title('Zoom Meeting');
    show('call');
    if (now.consent_dialog) ask('consent');
    if (now.tips) ask('tip');
    if (now.device_warning) ask('warning');
  },
  over(state) {
    if (!ends[state]) return;
    title('Zoom');
    document.querySelectorAll('.stage').forEach((stage) => stage.classList.remove('on'));
    at('ended-text').textContent = ends[state];
    ask('ended', () => wall('Zoom'));
  },
  wrongPasscode() {
    at('problem').textContent = 'Passcode wrong. Please try again.';
    Object.assign(at('passcode'), { hidden: false, value: '' });
    openPreview();
  },
  tile(tile, one) {
    tile.classList.add('gallery-video-container__video-frame');
    tile.innerHTML = '<div class="video-avatar__avatar"><div class="video-avatar__avatar-footer"><span></span></div></div>';
    tile.querySelector('span').textContent = one.name;
  },
  row(row, one) {
    row.setAttribute('role', 'listitem');
    row.classList.add('participants-item__item-layout');
    row.innerHTML = '<span class="participants-item__display-name"></span> <span class="participants-item__name-label"></span>';
    row.querySelector('.participants-item__display-name').textContent = one.name;
    row.querySelector('.participants-item__name-label').textContent = one.role === 'self' ? '(Me)' : '';
  },
  // Who speaks is framed; the clock's place stays what it is, so the frames move and the tiles do not.
  speaking({ tile }, on) {
    tile.classList.toggle('gallery-video-container__video-frame', !on);
    tile.classList.toggle('speaker-bar-container__video-frame', on);
    tile.classList.toggle('speaker-bar-container__video-frame--active', on);
  },
  count(count) {
    at('badge').textContent = String(count);
    if (!reconnects) at('note').textContent = '';
  },
  line(item, line) {
    item.className = 'new-chat-message__container line';
    item.setAttribute('role', 'listitem');
    item.innerHTML = '<b class="chat-message-text__user-name"></b><div class="new-chat-message__text-content"></div>';
    item.querySelector('b').textContent = line.own ? 'You' : line.name;
    item.querySelector('div').textContent = line.text;
  },
  reconnecting(on) {
    reconnects = on;
    at('note').textContent = on ? 'Reconnecting…' : '';
  },
});

every('toggle').forEach((button) => {
  button.onclick = () => { button.setAttribute('aria-label', button.dataset.off); button.textContent = button.dataset.off; };
});
at('leave').onclick = () => { at('leaving').hidden = false; };
at('really-leave').onclick = () => { at('leaving').hidden = true; client.leave(); };
at('leave-lobby').onclick = () => client.leave();

function openPreview() {
  show('prejoin');
  const [name, passcode] = [at('name'), at('passcode')];
  const ready = () => { at('join').disabled = !name.value.trim() || (!passcode.hidden && !passcode.value.trim()); };
  name.oninput = ready;
  passcode.oninput = ready;
  ready();
  at('join').onclick = () => {
    if (onJoining[settings.page]) { onJoining[settings.page](); return; }
    client.join(name.value.trim(), passcode.hidden ? givenPasscode : passcode.value.trim());
  };
}

if (atOnce[settings.page]) atOnce[settings.page]();
else {
  at('passcode').hidden = !settings.wants_passcode || givenPasscode !== '';
  openPreview();
  // The question comes twice: once for each device.
  if (settings.device_prompt) ask('devices', () => setTimeout(() => ask('devices'), 300));
}
