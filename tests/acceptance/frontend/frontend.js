// What a web frontend on another origin does with the REST routes, as a person uses it in several tabs.
// `seen` is what came of it, for whoever watches.

const api = document.querySelector('meta[name=api]').content;
const channel = new BroadcastChannel('plyr-queue');
const seen = { statuses: [], sent: [], told: [], exported: [], heard: [] };
const at = (id) => document.getElementById(id);
const queue = { etag: null, ids: [], added: [] };
Object.assign(window, { api, seen });

// The answer to a request with cookies; it notes every status.
async function ask(method, path, body, headers = {}) {
  const json = body === undefined ? {} : { 'Content-Type': 'application/json' };
  const answer = await fetch(api + path, {
    method, credentials: 'include', keepalive: true, headers: { ...json, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  seen.statuses.push(`${method} ${path} ${answer.status}`);
  if (answer.status === 401) signedOut();
  return answer;
}

const read = async (path) => (await ask('GET', path)).json();

function signedOut() {
  at('sign-in').hidden = false;
  document.querySelector('main').hidden = true;
}

// Events about a job until it has ended. An EventSource without further ado sends no cookies.
function follow(path, events, status) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(api + path);
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      events.push(event);
      status.textContent = event.error ?? event.message;
      if (event.status !== 'completed' && event.status !== 'failed') return;
      source.close();
      resolve(event);
    };
    source.onerror = () => {
      source.close();
      reject(new Error('lost connection to server'));
    };
  });
}

function upload(form) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', `${api}/tracks/`);
    request.withCredentials = true;
    request.upload.onprogress = ({ loaded, total }) => {
      seen.sent.push([loaded, total]);
      at('upload-status').textContent = `${Math.round((loaded / total) * 100)} %`;
    };
    request.onload = () => (request.status === 200 ? resolve(JSON.parse(request.responseText)) : request.onerror());
    request.onerror = () => reject(new Error(`the upload failed: ${request.status}`));
    request.send(new FormData(form));
  });
}

function item(text, ...buttons) {
  const li = document.createElement('li');
  li.append(text);
  for (const [name, act] of buttons) {
    const button = document.createElement('button');
    button.textContent = name;
    button.onclick = act;
    li.append(' ', button);
  }
  return li;
}

async function showTracks() {
  const { tracks } = await read('/tracks/');
  at('tracks').replaceChildren(...tracks.map((track) => item(
    `${track.title} by ${track.artist}: ${track.like_count} likes${track.is_liked ? ', one of them mine' : ''}`,
    ['Like', async () => {
      await ask('POST', `/tracks/${track.id}/like`);
      await showTracks();
    }],
    ['Add to queue', () => {
      queue.added.push(track.file_id);
      at('queue-status').textContent = 'not saved';
    }],
  )));
  const liked = await read('/tracks/liked');
  at('liked').replaceChildren(...liked.tracks.map((track) => item(track.title)));
}

async function keepQueue(answer) {
  const { state, tracks, revision } = await answer.json();
  queue.etag = answer.headers.get('ETag');
  queue.ids = state.track_ids;
  at('queue').replaceChildren(...tracks.map((track) => item(track.title)));
  at('queue-status').textContent = `revision ${revision}`;
  return revision;
}

// What was added goes on top of whatever another tab or device wrote meanwhile.
async function saveQueue() {
  const state = { track_ids: [...queue.ids, ...queue.added], current_index: 0, shuffle: false };
  const answer = await ask('PUT', '/queue/', { state }, { 'If-Match': queue.etag });
  if (answer.status === 409) {
    await keepQueue(await ask('GET', '/queue/'));
    return saveQueue();
  }
  queue.added = [];
  channel.postMessage({ type: 'queue-updated', revision: await keepQueue(answer) });
}

channel.onmessage = async ({ data }) => {
  seen.heard.push(data);
  if (queue.added.length === 0) await keepQueue(await ask('GET', '/queue/'));
};

async function showPreferences(answer) {
  const { accent_color: accent } = await answer.json();
  at('accent').value = accent;
  document.documentElement.style.setProperty('--accent', accent);
}

at('sign-in').onsubmit = (event) => {
  event.preventDefault();
  location.href = `${api}/auth/start?${new URLSearchParams(new FormData(event.target))}`;
};
at('upload').onsubmit = async (event) => {
  event.preventDefault();
  const { upload_id: id } = await upload(event.target);
  await follow(`/tracks/uploads/${id}/progress`, seen.told, at('upload-status'));
  await showTracks();
};
at('save').onclick = saveQueue;
at('accent').onchange = async ({ target }) => {
  await showPreferences(await ask('POST', '/preferences/', { accent_color: target.value }));
};
at('export').onclick = async () => {
  const { export_id: id } = await (await ask('POST', '/exports/media')).json();
  await follow(`/exports/${id}/progress`, seen.exported, at('export-status'));
  at('download').href = `${api}/exports/${id}/download`;
  at('download').hidden = false;
};
at('sign-out').onclick = async () => {
  await ask('POST', '/auth/logout');
  signedOut();
};

const query = new URLSearchParams(location.search);
if (query.has('exchange_token')) {
  history.replaceState(null, '', location.pathname);
  await ask('POST', '/auth/exchange', { exchange_token: query.get('exchange_token') });
}
const me = await ask('GET', '/auth/me');
if (me.ok) {
  at('who').textContent = (await me.json()).handle;
  document.querySelector('main').hidden = false;
  await showPreferences(await ask('GET', '/preferences/'));
  await keepQueue(await ask('GET', '/queue/'));
  await showTracks();
}
