// All that a page can try at plyr with a visitor's cookies, of the frontend's `api`; what came of each.
async ([id, progress]) => {
  const json = { 'Content-Type': 'application/json' };
  const ask = (method, path, more) => fetch(api + path, { method, credentials: 'include', ...more });
  const form = () => {
    const data = new FormData();
    data.append('title', 'x');
    data.append('file', new Blob(['x']), 'x.mp3');
    return data;
  };
  const xhr = () => new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open('POST', api + '/tracks/');
    request.withCredentials = true;
    request.onload = done;
    request.onerror = () => failed(new TypeError('refused'));
    request.send(form());
  });
  const follow = (withCredentials) => new Promise((done, failed) => {
    const source = new EventSource(api + progress, { withCredentials });
    source.onmessage = done;
    source.onerror = () => {
      source.close();
      failed(new TypeError('refused'));
    };
  });
  const tries = {
    'who is it': () => ask('GET', '/auth/me'),
    'what is liked': () => ask('GET', '/tracks/liked'),
    'take a like back': () => ask('DELETE', `/tracks/${id}/like`),
    comment: () => ask('POST', `/tracks/${id}/comments`, { headers: json, body: '{"text":"x","timestamp_ms":0}' }),
    'empty the queue': () => ask('PUT', '/queue/', { headers: json, body: '{"state":{}}' }),
    'change a setting': () => ask('POST', '/preferences/', { headers: json, body: '{"accent_color":"#000000"}' }),
    'a setting as plain text': () => ask('POST', '/preferences/', { body: '{"accent_color":"#000000"}' }),
    upload: xhr,
    'sign out': () => ask('POST', '/auth/logout'),
    follow: () => follow(false),
    'follow with cookies': () => follow(true),
    'sign out blindly': () => ask('POST', '/auth/logout', { mode: 'no-cors' }),
    'upload blindly': () => ask('POST', '/tracks/', { mode: 'no-cors', body: form() }),
  };
  const came = {};
  for (const [name, act] of Object.entries(tries)) {
    came[name] = await act().then((answer) => answer.type, (error) => error.name);
  }
  return came;
}
