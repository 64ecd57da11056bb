import type { CallToolResult, ContentBlock } from '../tools/chunk.ts'

/** The revisions that are negotiated with `initialize`, oldest first. They are dates, so they compare as strings. */
export const REVISIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'] as const

/** The revisions that every request names for itself. */
export const STATELESS_REVISIONS = ['2026-07-28'] as const

export type HandshakeRevision = typeof REVISIONS[number]
export type Revision = HandshakeRevision | typeof STATELESS_REVISIONS[number]

/** What a client can be asked for: nothing, a form, or a form and a URL. */
type Elicits = 'nothing' | 'form' | 'url'

type Fields = Readonly<Record<string, unknown>>

/** What a client of one revision can parse, and how it is served. */
export interface Profile {
  readonly revision: Revision
  /** Every request stands for itself: results say what they are, who gave them and how long they hold. */
  readonly isStateless: boolean
  /** JSON arrays of messages are part of this revision. */
  readonly batches: boolean
  /** An event with empty data opens the stream of a POST, so that it can be resumed before its first message. */
  readonly primes: boolean
  /** Arguments that do not fit the schema are told to the model (`isError`) instead of to the client. */
  readonly inputErrorsToModel: boolean
  readonly elicits: Elicits
  /** Forms may offer several choices and titles of choices, and models may be given tools. */
  readonly hasRichAsks: boolean
  /** `completions` is a capability. */
  readonly declaresCompletions: boolean
  /** A content block in the nearest form that the revision can parse. */
  readonly convertBlock: (block: ContentBlock) => ContentBlock
  /** `isWrapped`: the structured content is not an object, and travels as the `result` member of one where it must be. */
  readonly convertResult: (result: CallToolResult, isWrapped: boolean) => CallToolResult
  /** A listing without the fields that the revision does not define. */
  readonly convertListing: (listing: Fields) => Fields
  /** The same for a tool, whose output schema may be of any type since 2026-07-28 alone. */
  readonly convertTool: (tool: Fields) => Fields
  /** What the server says of itself, without the fields that the revision does not define. */
  readonly convertIdentity: (identity: Fields) => Fields
}

interface Row {
  isStateless?: true
  batches?: true
  primes?: true
  inputErrorsToModel?: true
  elicits?: Elicits
  hasRichAsks?: true
  lacksCompletions?: true
  /** Strict clients of the revision refuse content of type `audio`. */
  lacksAudio?: true
  /** `resource_link` and structured content came together, with 2025-06-18. */
  lacksLinks?: true
  /** Structured content may be any JSON value. */
  anyOutput?: true
  /** Fields of listings that the revision does not define. */
  lacksFields?: readonly string[]
  /** The same for tools. */
  lacksToolFields?: readonly string[]
}

const BASIC_FIELDS = ['title', '_meta', 'icons']
const IDENTITY_FIELDS = ['icons', 'description', 'websiteUrl']

const rows: Record<Revision, Row> = {
  '2024-11-05': {
    lacksAudio: true,
    lacksLinks: true,
    lacksCompletions: true,
    lacksFields: BASIC_FIELDS,
    lacksToolFields: [...BASIC_FIELDS, 'annotations', 'outputSchema']
  },
  '2025-03-26': { batches: true, lacksLinks: true, lacksFields: BASIC_FIELDS, lacksToolFields: [...BASIC_FIELDS, 'outputSchema'] },
  '2025-06-18': { elicits: 'form', lacksFields: ['icons'], lacksToolFields: ['icons'] },
  '2025-11-25': { primes: true, inputErrorsToModel: true, elicits: 'url', hasRichAsks: true },
  '2026-07-28': { isStateless: true, inputErrorsToModel: true, elicits: 'url', hasRichAsks: true, anyOutput: true }
}

function without (names: readonly string[]): (fields: Fields) => Fields {
  return fields => names.length === 0 ? fields : Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)))
}

function build (revision: Revision): Profile {
  const {
    isStateless = false, batches = false, primes = false, inputErrorsToModel = false, elicits = 'nothing', hasRichAsks = false,
    lacksCompletions = false, lacksAudio = false, lacksLinks = false, anyOutput = false, lacksFields = [], lacksToolFields = []
  } = rows[revision]
  const convertBlock = (block: ContentBlock): ContentBlock => {
    if (lacksAudio && block.type === 'audio') return { type: 'resource', resource: { uri: 'audio:content', mimeType: block.mimeType, blob: block.data } }
    if (lacksLinks && block.type === 'resource_link') return { type: 'text', text: `${block.title ?? block.name}: ${block.uri}` }
    return block
  }
  const withoutToolFields = without(lacksToolFields)
  return {
    revision,
    isStateless,
    batches,
    primes,
    inputErrorsToModel,
    elicits,
    hasRichAsks,
    declaresCompletions: !lacksCompletions,
    convertBlock,
    convertResult (result, isWrapped) {
      if (!lacksLinks) return isWrapped && !anyOutput && 'structuredContent' in result ? wrapResult(result) : result
      const { structuredContent: _, ...rest } = result
      return { ...rest, content: result.content.map(convertBlock) }
    },
    convertListing: without(lacksFields),
    convertTool (tool) {
      const { outputSchema } = tool
      if (anyOutput || outputSchema === undefined || isObjectSchema(outputSchema)) return withoutToolFields(tool)
      return withoutToolFields({ ...tool, outputSchema: wrap(outputSchema) })
    },
    convertIdentity: without(revision >= '2025-11-25' ? [] : revision >= '2025-06-18' ? IDENTITY_FIELDS : ['title', ...IDENTITY_FIELDS])
  }
}

/** What `$ref` points at stays where it was: at the root. */
function wrap (schema: unknown): Fields {
  const { $schema, $defs, definitions, ...rest }: Fields = Object(schema)
  const shared = Object.entries({ $schema, $defs, definitions }).filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries(shared), type: 'object', properties: { result: rest }, required: ['result'] }
}

/** The text that stands for the structured content says the same as that (server/tools, "Structured Content"). */
function wrapResult (result: CallToolResult): CallToolResult {
  const structuredContent = { result: result.structuredContent }
  return { ...result, content: [...result.content.slice(0, -1), { type: 'text', text: JSON.stringify(structuredContent) }], structuredContent }
}

/** Whether a schema describes objects alone, as the structured content of the session revisions must be. */
function isObjectSchema (schema: unknown): boolean {
  return typeof schema === 'object' && schema !== null && 'type' in schema && schema.type === 'object'
}

const profiles = new Map<unknown, Profile>(REVISIONS.map(revision => [revision, build(revision)]))
const statelessProfiles = new Map<unknown, Profile>(STATELESS_REVISIONS.map(revision => [revision, build(revision)]))

const LATEST: HandshakeRevision = '2025-11-25'

/** The row of a revision of the handshake, undefined when it is not served. */
export function profileOf (revision: unknown): Profile | undefined {
  return profiles.get(revision)
}

/** The row of a revision that requests name for themselves, undefined when it is not served. */
export function statelessProfileOf (revision: unknown): Profile | undefined {
  return statelessProfiles.get(revision)
}

/** The revision that `initialize` answers: the one asked for, else the latest served (basic/lifecycle, "Version Negotiation"). */
export function negotiate (requested: string): HandshakeRevision {
  return REVISIONS.find(revision => revision === requested) ?? LATEST
}
