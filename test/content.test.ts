// The helpers that make content, and what a server says of itself, in the form of every revision.
import { content } from 'fastify-mcp-sse'
import t from 'tap'
import { isContentBlock } from '../lib/tools/chunk.ts'
import { ERAS, offer, revisionOf } from './peers.ts'

const bytes = new Uint8Array([9, 1, 2, 3, 9])
const view = bytes.subarray(1, 4)
const annotations = { audience: ['user' as const], priority: 0.5 }

t.test('each helper makes its block, of text or of bytes', async t => {
  const made: [block: object, wanted: object][] = [
    [content.text('a'), { type: 'text', text: 'a' }],
    [content.text('a', { annotations, _meta: { k: 1 } }), { type: 'text', text: 'a', annotations, _meta: { k: 1 } }],
    [content.image('AAAA', 'image/png'), { type: 'image', data: 'AAAA', mimeType: 'image/png' }],
    [content.image(view, 'image/png', { annotations }), { type: 'image', data: 'AQID', mimeType: 'image/png', annotations }],
    [content.audio(Buffer.from(view), 'audio/wav'), { type: 'audio', data: 'AQID', mimeType: 'audio/wav' }],
    [content.resource('a:b', 'text'), { type: 'resource', resource: { uri: 'a:b', text: 'text' } }],
    [content.resource('a:b', view, 'image/png', { annotations }), { type: 'resource', resource: { uri: 'a:b', mimeType: 'image/png', blob: 'AQID' }, annotations }],
    [content.link('a:b', 'b'), { type: 'resource_link', uri: 'a:b', name: 'b' }],
    [content.link('a:b', 'b', { title: 'B', description: 'd', mimeType: 'text/plain', size: 3 }),
      { type: 'resource_link', uri: 'a:b', name: 'b', title: 'B', description: 'd', mimeType: 'text/plain', size: 3 }]
  ]
  for (const [block, wanted] of made) {
    t.strictSame(block, wanted)
    t.ok(isContentBlock(block))
  }
  t.strictSame(content.structured({ a: 1 }), { content: [{ type: 'text', text: '{"a":1}' }], structuredContent: { a: 1 } })
  t.throws(() => Object.assign(content, { text: 1 }), TypeError)
})

for (const era of ERAS) {
  t.test(`on ${era} a tool's blocks come in a form that the revision can parse`, async t => {
    const { app, peer } = await offer(t, era)
    app.mcp.tool('yields', {}, async function * () {
      yield 'a'
      yield content.text('b', { annotations })
      yield content.image(view, 'image/png')
      yield content.audio(view, 'audio/wav')
      yield content.resource('a:b', view, 'image/png')
      yield content.link('a:b', 'b')
      return content.link('a:c', 'c', { title: 'C' })
    })
    app.mcp.tool('structured', {}, () => content.structured({ a: [1] }))
    const client = await peer()
    const revision = revisionOf(era)
    const link = (uri: string, name: string, title?: string) => revision < '2025-06-18'
      ? { type: 'text', text: `${title ?? name}: ${uri}` }
      : { type: 'resource_link', uri, name, ...(title !== undefined && { title }) }
    t.strictSame((await client.request('tools/call', { name: 'yields' })).result.content, [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b', annotations },
      { type: 'image', data: 'AQID', mimeType: 'image/png' },
      revision === '2024-11-05'
        ? { type: 'resource', resource: { uri: 'audio:content', mimeType: 'audio/wav', blob: 'AQID' } }
        : { type: 'audio', data: 'AQID', mimeType: 'audio/wav' },
      { type: 'resource', resource: { uri: 'a:b', mimeType: 'image/png', blob: 'AQID' } },
      link('a:b', 'b'),
      link('a:c', 'c', 'C')
    ])
    const { result } = await client.request('tools/call', { name: 'structured' })
    t.strictSame(result.content, [{ type: 'text', text: '{"a":[1]}' }])
    t.strictSame(result.structuredContent, revision < '2025-06-18' ? undefined : { a: [1] })
  })

  t.test(`on ${era} a server says of itself what the revision knows`, async t => {
    const icons = [{ src: 'https://a.example/i.png', mimeType: 'image/png' }]
    const own = { title: 'A Server', description: 'serves', icons, websiteUrl: 'https://a.example/' }
    const { peer } = await offer(t, era, own)
    const { serverInfo } = await peer()
    const revision = revisionOf(era)
    const { title, ...rest } = own
    t.strictSame({ ...serverInfo }, { name: 'test', version: '1.0.0', ...(revision >= '2025-06-18' && { title }), ...(revision >= '2025-11-25' && rest) })
    const bare = await offer(t, era)
    t.strictSame((await bare.peer()).serverInfo, { name: 'test', version: '1.0.0' }, 'what was not given is not there')
  })
}
