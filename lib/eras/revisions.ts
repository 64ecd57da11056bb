import type { CallToolResult, ContentBlock } from '../tools/chunk.ts'

/** The revisions that are negotiated with `initialize`, oldest first. They are dates, so they compare as strings. */
export const REVISIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'] as const

export type Revision = typeof REVISIONS[number]

/** What a client of one revision can parse, and how it is served. */
export interface Profile {
  readonly revision: Revision
  /** JSON arrays of messages are part of this revision. */
  readonly batches: boolean
  /** An event with empty data opens the stream of a POST, so that it can be resumed before its first message. */
  readonly primes: boolean
  /** Arguments that do not fit the schema are told to the model (`isError`) instead of to the client. */
  readonly inputErrorsToModel: boolean
  /** A content block in the nearest form that the revision can parse. */
  readonly convertBlock: (block: ContentBlock) => ContentBlock
  readonly convertResult: (result: CallToolResult) => CallToolResult
  /** A tool's listing without the fields that the revision does not define. */
  readonly convertTool: (tool: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>
}

interface Row {
  batches?: true
  primes?: true
  inputErrorsToModel?: true
  /** Strict clients of the revision refuse content of type `audio`. */
  lacksAudio?: true
  /** `resource_link` and structured content came together, with 2025-06-18. */
  lacksLinks?: true
  /** Fields of a tool's listing that the revision does not define. */
  lacksFields?: readonly string[]
}

const rows: Record<Revision, Row> = {
  '2024-11-05': {
    lacksAudio: true,
    lacksLinks: true,
    lacksFields: ['annotations', 'title', 'outputSchema', '_meta', 'icons']
  },
  '2025-03-26': { batches: true, lacksLinks: true, lacksFields: ['title', 'outputSchema', '_meta', 'icons'] },
  '2025-06-18': { lacksFields: ['icons'] },
  '2025-11-25': { primes: true, inputErrorsToModel: true }
}

function build (revision: Revision): Profile {
  const { batches = false, primes = false, inputErrorsToModel = false, lacksAudio = false, lacksLinks = false, lacksFields = [] } = rows[revision]
  const convertBlock = (block: ContentBlock): ContentBlock => {
    if (lacksAudio && block.type === 'audio') return { type: 'resource', resource: { uri: 'audio:content', mimeType: block.mimeType, blob: block.data } }
    if (lacksLinks && block.type === 'resource_link') return { type: 'text', text: `${block.title ?? block.name}: ${block.uri}` }
    return block
  }
  return {
    revision,
    batches,
    primes,
    inputErrorsToModel,
    convertBlock,
    convertResult (result) {
      if (!lacksLinks) return result
      const { structuredContent: _, ...rest } = result
      return { ...rest, content: result.content.map(convertBlock) }
    },
    convertTool (tool) {
      return lacksFields.length === 0 ? tool : Object.fromEntries(Object.entries(tool).filter(([field]) => !lacksFields.includes(field)))
    }
  }
}

const profiles = new Map<unknown, Profile>(REVISIONS.map(revision => [revision, build(revision)]))

const LATEST: Revision = '2025-11-25'

/** The row of a revision, undefined when it is not served. */
export function profileOf (revision: unknown): Profile | undefined {
  return profiles.get(revision)
}

/** The revision that `initialize` answers: the one asked for, else the latest served (basic/lifecycle, "Version Negotiation"). */
export function negotiate (requested: string): Revision {
  return profiles.get(requested)?.revision ?? LATEST
}
