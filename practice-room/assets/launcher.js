// The pages that would rather launch an application: Teams' and Zoom's. Both lead on to the client in this browser.
import { drift } from '/assets/drift.js';

const settings = window.SETTINGS;
const at = (name) => document.querySelector(`[data-at="${name}"]`);
const on = `${location.pathname.split('/').slice(0, 3).join('/')}/join${location.search}`;

drift(settings.drift);
at('stay').onclick = (event) => { event.preventDefault(); location.href = on; };
if (at('launch')) at('launch').onclick = () => { at('launched').hidden = false; };
if (at('cookies')) {
  at('cookies').hidden = !settings.cookie_banner;
  at('accept').onclick = () => { at('cookies').hidden = true; };
}
