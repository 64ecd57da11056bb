import { isBuiltin } from 'node:module'
import { posix } from 'node:path'
import ts from 'typescript'

// Which room may import which. Its own room, `errors` and `channels` are open to every room but those two; `index` may import anything.
const arrows: Record<string, string[]> = {
  index: ['assembly', 'cluster', 'mcp', 'options', 'http', 'eras', 'protocol', 'features', 'tools', 'sse', 'store', 'ops'],
  assembly: ['cluster', 'eras', 'protocol', 'features', 'sse', 'store'],
  mcp: ['features', 'tools'],
  options: ['wording'],
  http: ['eras', 'protocol', 'features', 'tools', 'sse', 'store', 'options', 'ops'],
  ops: ['cluster', 'eras', 'protocol', 'features', 'tools', 'sse', 'store'],
  eras: ['protocol', 'features', 'tools', 'cluster', 'sse', 'store'],
  protocol: ['features', 'tools', 'sse'],
  features: ['tools', 'wording'],
  tools: [],
  cluster: ['sse', 'store'],
  sse: [],
  store: [],
  // Entry points of their own, and what the two share.
  jwt: ['identity'],
  redis: ['store'],
  testing: ['store'],
  metrics: ['ops', 'http', 'identity'],
  introspection: ['identity'],
  identity: ['wording'],
  // The command line, which knows the server from outside alone.
  command: ['doctor'],
  doctor: [],
  // How what whoever starts a server got wrong is told.
  wording: [],
  errors: ['catalogue'],
  channels: [],
  catalogue: []
}

const pure = new Set(['lib/sse/frame.ts', 'lib/tools/chunk.ts', 'lib/eras/classify.ts', 'lib/eras/revisions.ts', 'lib/eras/agreement.ts', 'lib/features/mirrors.ts', 'lib/protocol/message.ts'])
const raw = new Set(['lib/http/answer.ts', 'lib/http/responses.ts'])
const clocks = new Set(['Date', 'performance', 'setTimeout', 'setInterval', 'setImmediate'])
const longest = 260

/** The breaches of the house law in a map of path to source, each as one sentence. Only names are judged outside `lib/`. */
export function breaches (files: Map<string, string>): string[] {
  const found: string[] = []
  const names = new Map<string, string>()
  for (const [path, source] of files) {
    const name = posix.basename(path)
    const first = names.get(name)
    if (first === undefined) names.set(name, path)
    else found.push(`${path}: has the name of ${first}`)
    if (path.startsWith('lib/')) found.push(...judge(path, source))
  }
  return found
}

function judge (path: string, source: string): string[] {
  const found: string[] = []
  const room = roomOf(path)
  if (!(room in arrows)) found.push(`${path}: ${room} is not a room of the house`)
  const lines = source.trimEnd().split('\n').length
  if (lines > longest) found.push(`${path}: has ${lines} lines, more than ${longest}`)

  const file = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true)
  const visit = (node: ts.Node): void => {
    const say = (what: string) => {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart(file))
      found.push(`${path}:${line + 1}: ${what}`)
    }
    const specifier = imported(node)
    if (specifier?.startsWith('.')) {
      const target = roomOf(posix.join(posix.dirname(path), specifier))
      if (!allowed(room, target)) say(`${room} must not import ${target}`)
    } else if (specifier !== undefined && pure.has(path) && isBuiltin(specifier)) {
      say(`a pure file imports ${specifier}`)
    }
    if (pure.has(path) && ts.isIdentifier(node) && clocks.has(node.text)) say(`a pure file names ${node.text}`)
    if (!raw.has(path) && touchesRawReply(node)) say('touches reply.raw')
    if (path !== 'lib/sse/frame.ts' && isText(node) && node.text.includes('data: ')) say('writes "data: "')
    if (node.kind === ts.SyntaxKind.AnyKeyword) say('says any')
    if (throwsBareError(node)) say('throws a bare Error')
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

/** `lib/http/answer.ts` is in the room `http`; `lib/options.ts` is a room of its own. */
function roomOf (path: string): string {
  const [, room = ''] = path.split('/')
  return room.replace(/\.[jt]s$/, '')
}

function allowed (from: string, to: string): boolean {
  if (from === to) return true
  if (to === 'errors' || to === 'channels') return true
  return arrows[from]?.includes(to) ?? false
}

/** The module that a node loads at run time, if it does. */
function imported (node: ts.Node): string | undefined {
  if (ts.isImportDeclaration(node) && !importsTypesOnly(node.importClause)) return text(node.moduleSpecifier)
  if (ts.isExportDeclaration(node) && node.moduleSpecifier && !exportsTypesOnly(node)) return text(node.moduleSpecifier)
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    const [specifier] = node.arguments
    return specifier && text(specifier)
  }
  return undefined
}

function importsTypesOnly (clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true
  if (clause.name || !clause.namedBindings || !ts.isNamedImports(clause.namedBindings)) return false
  return onlyTypes(clause.namedBindings.elements)
}

function exportsTypesOnly (node: ts.ExportDeclaration): boolean {
  if (node.isTypeOnly) return true
  return node.exportClause !== undefined && ts.isNamedExports(node.exportClause) && onlyTypes(node.exportClause.elements)
}

function onlyTypes (names: ts.NodeArray<ts.ImportSpecifier | ts.ExportSpecifier>): boolean {
  return names.length > 0 && names.every(name => name.isTypeOnly)
}

function touchesRawReply (node: ts.Node): boolean {
  if (ts.isPropertyAccessExpression(node)) return node.name.text === 'raw' && namesReply(node.expression)
  if (ts.isVariableDeclaration(node) && ts.isObjectBindingPattern(node.name) && node.initializer && namesReply(node.initializer)) {
    return node.name.elements.some(element => text(element.propertyName ?? element.name) === 'raw')
  }
  return false
}

function namesReply (node: ts.Expression): boolean {
  return ts.isIdentifier(node) ? node.text === 'reply' : ts.isPropertyAccessExpression(node) && node.name.text === 'reply'
}

function throwsBareError (node: ts.Node): boolean {
  return ts.isThrowStatement(node) && ts.isNewExpression(node.expression) && text(node.expression.expression) === 'Error'
}

function isText (node: ts.Node): node is ts.LiteralLikeNode {
  return ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node)
}

function text (node: ts.Node): string | undefined {
  return ts.isIdentifier(node) || ts.isStringLiteralLike(node) ? node.text : undefined
}
