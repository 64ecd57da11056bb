/* global EventSource */
const connection = document.querySelector('#connection')
const calls = new Map()
let endpoint
let lastId = 0

function connect () {
  const source = new EventSource('/sse')
  source.addEventListener('endpoint', ({ data }) => enter(data))
  source.addEventListener('message', ({ data }) => receive(JSON.parse(data)))
  source.addEventListener('error', () => {
    // The browser reconnects on its own, with Last-Event-ID, unless it gave up.
    connection.textContent = 'reconnecting'
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 1_000)
  })
}

/** The same endpoint means the same session: what was missed follows. Another one knows nothing of earlier calls. */
async function enter (url) {
  connection.textContent = 'connected'
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
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', ...message })
  }).catch(() => null)
  if (!response?.ok && calls.has(message.id)) end(message.id, 'lost')
}

document.querySelector('#form').addEventListener('submit', event => {
  event.preventDefault()
  call({ from: event.target.elements.from.valueAsNumber })
})

connect()
