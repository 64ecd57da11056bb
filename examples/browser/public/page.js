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
  if (!response?.ok) return connectLater(response)
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

function connectLater (response) {
  connection.textContent = 'reconnecting'
  setTimeout(connect, waitOf(response, failures++))
}

/** Any time up to a limit that doubles with each failure, so that pages do not come back together; after what the server asks for. */
function waitOf (response, failures) {
  const asked = Number(response?.headers.get('retry-after') ?? 0)
  return 1_000 * asked + Math.random() * Math.min(30_000, 1_000 * 2 ** failures)
}

function askForToken () {
  sessionStorage.removeItem('token')
  connection.textContent = 'waiting for a token'
  login.hidden = false
}

/**
 * The same endpoint means the same session: what was missed follows. Another one knows nothing of earlier calls: one with a key is
 * sent again, since that does nothing twice, and of any other the user decides.
 */
async function enter (url) {
  connection.textContent = 'connected'
  failures = 0
  if (url === endpoint) return
  endpoint = url
  const before = [...calls]
  const hello = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'page', version: '1.0.0' } }
  await post({ id: ++lastId, method: 'initialize', params: hello })
  await post({ method: 'notifications/initialized' })
  for (const [id, item] of before) {
    if (!calls.has(id)) continue
    if (item.args.key === undefined) end(id, 'lost')
    else repeat(id)
  }
}

function receive ({ id, method, params, result }) {
  if (method === 'notifications/progress') show(params)
  else if (calls.has(id)) end(id, result !== undefined && !result.isError ? 'done' : 'failed')
}

function show ({ progressToken, progress, total, message }) {
  const { element } = calls.get(progressToken) ?? {}
  if (element === undefined) return
  if (message !== undefined) element.querySelector('output').append(message)
  if (total !== undefined) Object.assign(element.querySelector('progress'), { value: progress, max: total })
}

function end (id, state) {
  const { element } = calls.get(id)
  calls.delete(id)
  element.dataset.state = element.querySelector('.state').textContent = state
  element.querySelector('button').hidden = state === 'done'
}

function call (name, args) {
  const element = document.querySelector('#call').content.cloneNode(true).firstElementChild
  element.querySelector('button').addEventListener('click', () => {
    element.remove()
    call(name, args)
  })
  document.querySelector('#calls').prepend(element)
  send({ name, args, element })
}

function send (item, failures = 0) {
  const id = ++lastId
  calls.set(id, item)
  post({ id, method: 'tools/call', params: { name: item.name, arguments: item.args, _meta: { progressToken: id } } }, failures)
}

/** The same call once more: in its place on the page, under an id of its own, with the same key. */
function repeat (id, failures) {
  const item = calls.get(id)
  calls.delete(id)
  item.element.querySelector('output').replaceChildren()
  send(item, failures)
}

/** Sends one message; its answer comes on the stream. */
async function post (message, failures = 0) {
  const response = await fetch(endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${sessionStorage.getItem('token')}` },
    body: JSON.stringify({ jsonrpc: '2.0', ...message })
  }).catch(() => null)
  if (response?.ok) return
  const item = calls.get(message.id)
  const hasKey = item?.args.key !== undefined
  // Its session is over. The next one gets it, as soon as there is one.
  if (hasKey && response?.status === 404) return
  const wasRefused = response?.status === 429 || response?.status === 503
  const mayRepeat = wasRefused || (hasKey && (response === null || response.status >= 500))
  if (!mayRepeat || failures === 5) {
    if (item !== undefined) end(message.id, 'lost')
    return
  }
  await new Promise(resolve => setTimeout(resolve, waitOf(response, failures)))
  if (message.method !== 'tools/call') await post(message, failures + 1)
  else if (item !== undefined && calls.get(message.id) === item) repeat(message.id, failures + 1)
}

document.querySelector('#form').addEventListener('submit', event => {
  event.preventDefault()
  call('countdown', { from: event.target.elements.from.valueAsNumber })
})

document.querySelector('#launch').addEventListener('click', () => call('launch', { key: crypto.randomUUID() }))

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
