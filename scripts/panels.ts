// Draws the panels of a Grafana dashboard from what Prometheus answers: enough to see what is on it, and not Grafana.
export interface DataSource { type: string, uid: string }

export interface Target { expr: string, legendFormat: string, datasource: DataSource }

export interface Panel {
  id: number
  type: string
  title: string
  datasource: DataSource
  gridPos: { x: number, y: number, w: number, h: number }
  fieldConfig: { defaults: { unit: string } }
  targets: Target[]
}

/** As much of a dashboard as is read here. */
export interface Dashboard {
  __inputs: { name: string, type: string, pluginId: string }[]
  title: string
  schemaVersion: number
  panels: Panel[]
  templating: { list: { name: string, type: string, datasource: DataSource }[] }
}

export interface Series {
  readonly name: string
  /** Seconds since 1970, and what was measured; only finite ones. */
  readonly points: readonly (readonly [time: number, value: number])[]
}

const COLUMN = 50
const ROW = 30
const GAP = 8
const HEAD = 44
const COLORS = ['#7eb26d', '#eab839', '#6ed0e0', '#ef843c', '#e24d42', '#1f78c1', '#ba43a9', '#705da0', '#508642', '#cca300']

const STYLE = `body{margin:0;background:#111217;color:#ccccdc;font:12px Inter,Helvetica,Arial,sans-serif}
h1{font-size:16px;margin:0;padding:12px 8px;height:20px} h1 small{font-weight:400;color:#8e8e9e;font-size:12px}
section{position:absolute;background:#181b1f;border:1px solid #2a2d33;box-sizing:border-box;overflow:hidden}
h2{font-size:12px;font-weight:500;margin:6px 8px 0} .value{font-size:34px;text-align:center;margin-top:14px;color:#73bf69}
svg{display:block} text{fill:#8e8e9e;font-size:10px} .legend{padding:0 8px;font-size:10px;line-height:13px;height:26px;overflow:hidden}
.legend i{display:inline-block;width:10px;height:3px;margin:0 4px 3px 0}.legend span{margin-right:10px;white-space:nowrap}`

/** The page that is photographed. `note`: who drew it. */
export function draw ({ title, panels }: Dashboard, seriesOf: ReadonlyMap<Panel, readonly Series[]>, from: number, to: number, note: string): string {
  const sections = panels.map(panel => {
    const { x, y, w, h } = panel.gridPos
    const size = { width: w * COLUMN - GAP, height: h * (ROW + GAP) - GAP }
    const series = seriesOf.get(panel) ?? []
    const body = panel.type === 'stat' ? stat(panel, series) : graph(panel, series, from, to, size)
    return `<section style="left:${x * COLUMN + GAP}px;top:${HEAD + y * (ROW + GAP)}px;width:${size.width}px;height:${size.height}px"><h2>${escaped(panel.title)}</h2>${body}</section>`
  })
  return `<!doctype html><meta charset="utf-8"><style>${STYLE}</style><h1>${escaped(title)} <small>${escaped(note)}</small></h1>${sections.join('')}`
}

/** Pixels that the page takes. */
export function sizeOf ({ panels }: Dashboard): { width: number, height: number } {
  return { width: 24 * COLUMN + GAP, height: HEAD + Math.max(...panels.map(({ gridPos: { y, h } }) => y + h)) * (ROW + GAP) }
}

function stat ({ fieldConfig: { defaults: { unit } } }: Panel, [series]: readonly Series[]): string {
  const value = series?.points.at(-1)?.[1]
  return `<div class="value">${value === undefined ? 'No data' : said(value, unit)}</div>`
}

function graph (panel: Panel, series: readonly Series[], from: number, to: number, { width, height }: { width: number, height: number }): string {
  const { unit } = panel.fieldConfig.defaults
  const plot = { left: 52, right: width - 10, top: 8, bottom: height - 66 }
  const most = Math.max(...series.flatMap(({ points }) => points.map(([, value]) => value)), 0)
  const ceiling = roundUp(most)
  const across = (time: number): string => (plot.left + (time - from) / (to - from) * (plot.right - plot.left)).toFixed(1)
  const up = (value: number): string => (plot.bottom - value / ceiling * (plot.bottom - plot.top)).toFixed(1)
  const lines = [0, 0.25, 0.5, 0.75, 1].map(part => {
    const y = up(part * ceiling)
    return `<path d="M${plot.left} ${y}H${plot.right}" stroke="#2a2d33" shape-rendering="crispEdges"/><text x="${plot.left - 6}" y="${Number(y) + 3}" text-anchor="end">${said(part * ceiling, unit)}</text>`
  })
  const times = [0, 0.25, 0.5, 0.75, 1].map(part => {
    const time = from + part * (to - from)
    const clock = new Date(time * 1_000).toISOString().slice(14, 19)
    return `<text x="${across(time)}" y="${plot.bottom + 14}" text-anchor="${part === 1 ? 'end' : 'middle'}">${clock}</text>`
  })
  const colorOf = (index: number): string => COLORS[index % COLORS.length] ?? ''
  const paths = series.map(({ points }, index) => {
    const d = points.map(([time, value], at) => {
      const before = points[at - 1]
      // A gap is not bridged.
      return `${before === undefined || time - before[0] > 3 ? 'M' : 'L'}${across(time)} ${up(value)}`
    })
    return `<path d="${d.join('')}" fill="none" stroke="${colorOf(index)}" shape-rendering="crispEdges"/>`
  })
  const legend = series.map(({ name }, index) => `<span><i style="background:${colorOf(index)}"></i>${escaped(name)}</span> `)
  return `<svg width="${width}" height="${height - 50}">${lines.join('')}${times.join('')}${paths.join('')}</svg><div class="legend">${legend.join('')}</div>`
}

/** 1, 2 or 5 and zeros. */
function roundUp (value: number): number {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 5, 10].find(digit => digit * power >= value) ?? 10) * power
}

function said (value: number, unit: string): string {
  if (unit === 'percentunit') return `${short(value * 100)} %`
  if (unit === 's') return value >= 1 || value === 0 ? `${short(value)} s` : `${short(value * 1_000)} ms`
  const [divisor, prefix] = value >= 1e6 ? [1e6, ' M'] as const : value >= 1e3 ? [1e3, ' k'] as const : [1, ' '] as const
  const tail = unit === 'bytes' ? 'B' : unit === 'Bps' ? 'B/s' : unit === 'reqps' ? '/s' : ''
  return `${short(value / divisor)}${prefix}${tail}`.trim()
}

const short = (value: number): string => String(Number(value.toPrecision(3)))
const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
