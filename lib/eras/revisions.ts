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
  /** Content types that strict clients of the revision refuse. */
  lacksBlocks?: readonly ContentBlock['type'][]
  /** Fields of a tool's listing that the revision does not define. */
  lacksFields?: readonly string[]
  lacksStructured?: true
}

const rows: Record<Revision, Row> = {
  '2024-11-05': {
    lacksBlocks: ['audio', 'resource_link'],
    lacksFields: ['annotations', 'title', 'outputSchema', '_meta', 'icons'],
    lacksStructured: true
  },
  '2025-03-26': { batches: true, lacksBlocks: ['resource_link'], lacksFields: ['title', 'outputSchema', '_meta', 'icons'], lacksStructured: true },
  '2025-06-18': { lacksFields: ['icons'] },
  '2025-11-25': { primes: true, inputErrorsToModel: true }
}

function build (revision: Revision): Profile {
  const { batches = false, primes = false, inputErrorsToModel = false, lacksBlocks = [], lacksFields = [], lacksStructured = false } = rows[revision]
  const convertBlock = (block: ContentBlock): ContentBlock => lacksBlocks.includes(block.type) ? downgrade(block) : block
  return {
    revision,
    batches,
    primes,
    inputErrorsToModel,
    convertBlock,
    convertResult (result) {
      if (lacksBlocks.length === 0) return result
      const { structuredContent, ...rest } = result
      return { ...rest, ...(!lacksStructured && { structuredContent }), content: result.content.map(convertBlock) }
    },
    convertTool (tool) {
      return lacksFields.length === 0 ? tool : Object.fromEntries(Object.entries(tool).filter(([field]) => !lacksFields.includes(field)))
    }
  }
}

function downgrade (block: ContentBlock): ContentBlock {
  if (block.type === 'audio') {
    return { type: 'resource', resource: { uri: 'audio:content', mimeType: block.mimeType, blob: block.data } }
  }
  return block.type === 'resource_link' ? { type: 'text', text: `${block.title ?? block.name}: ${block.uri}` } : block
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
