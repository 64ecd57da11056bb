/* global EventSource, history, location */
const connection = document.querySelector('#connection')
const login = document.querySelector('#login')
const calls = new Map()
let endpoint
let lastId = 0
let failures = 0

/** The token of the link, which is kept for this tab alone and leaves the address bar at once. */
function takeToken () {
  const token = new URLSearchParams(location.hash.slice(1)).get('token')
  if (token === null) return
  sessionStorage.setItem('token', token)
  history.replaceState(null, '', location.pathname)
}

/** An EventSource can send no token: it gets in with a ticket, which is good for this one stream. */
async function connect () {
  const token = sessionStorage.getItem('token')
  if (token === null) return askForToken()
  const response = await fetch('/sse/ticket', { method: 'POST', headers: { authorization: `Bearer ${token}` } }).catch(() => null)
  if (response?.status === 401) return askForToken()
  if (!response?.ok) return connectLater()
  const { url } = await response.json()
  const source = new EventSource(url)
  source.addEventListener('endpoint', ({ data }) => enter(data))
  source.addEventListener('message', ({ data }) => receive(JSON.parse(data)))
  source.addEventListener('error', () => {
    // The browser reconnects on its own, with ticket and Last-Event-ID, unless it gave up.
    connection.textContent = 'reconnecting'
    if (source.readyState === EventSource.CLOSED) connectLater()
  })
}

/** Twice as long after each failure, and never when all other pages do. */
function connectLater () {
  connection.textContent = 'reconnecting'
  const longest = Math.min(30_000, 1_000 * 2 ** failures++)
  setTimeout(connect, longest * (1 + Math.random()) / 2)
}

function askForToken () {
  sessionStorage.removeItem('token')
  connection.textContent = 'waiting for a token'
  login.hidden = false
}

/** The same endpoint means the same session: what was missed follows. Another one knows nothing of earlier calls. */
async function enter (url) {
  connection.textContent = 'connected'
  failures = 0
  if (url === endpoint) return
  endpoint = url
  for (const id of [...calls.keys()]) end(id, 'lost')
  const hello = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'page', version: '1.0.0' } }
  await post({ id: ++lastId, method: 'initialize', params: hello })
  await post({ method: 'notifications/initialized' })
}

function receive ({ id, method, params, result }) {
  if (method === 'notifications/progress') show(params)
  else if (calls.has(id)) end(id, result !== undefined && !result.isError ? 'done' : 'failed')
}

function show ({ progressToken, progress, total, message }) {
  const item = calls.get(progressToken)
  if (item === undefined) return
  if (message !== undefined) item.querySelector('output').append(message)
  if (total !== undefined) Object.assign(item.querySelector('progress'), { value: progress, max: total })
}

function end (id, state) {
  const item = calls.get(id)
  calls.delete(id)
  item.dataset.state = item.querySelector('.state').textContent = state
  item.querySelector('button').hidden = state === 'done'
}

function call (args) {
  const id = ++lastId
  const item = document.querySelector('#call').content.cloneNode(true).firstElementChild
  item.querySelector('button').addEventListener('click', () => {
    item.remove()
    call(args)
  })
  document.querySelector('#calls').prepend(item)
  calls.set(id, item)
  post({ id, method: 'tools/call', params: { name: 'countdown', arguments: args, _meta: { progressToken: id } } })
}

/** Sends one message; its answer comes on the stream. */
async function post (message) {
  const response = await fetch(endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${sessionStorage.getItem('token')}` },
    body: JSON.stringify({ jsonrpc: '2.0', ...message })
  }).catch(() => null)
  if (!response?.ok && calls.has(message.id)) end(message.id, 'lost')
}

document.querySelector('#form').addEventListener('submit', event => {
  event.preventDefault()
  call({ from: event.target.elements.from.valueAsNumber })
})

login.addEventListener('submit', event => {
  event.preventDefault()
  login.hidden = true
  sessionStorage.setItem('token', event.target.elements.token.value)
  event.target.reset()
  connect()
})

// A new link in the same tab loads no page by itself.
window.addEventListener('hashchange', () => location.reload())
takeToken()
connect()
