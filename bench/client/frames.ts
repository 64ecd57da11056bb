export interface Frame {
  event: string
  id: string
  data: string
}

/** Every event of a finished or open SSE body, as its fields; comments are left out. */
export function parseFrames (body: string): Frame[] {
  const frames: Frame[] = []
  for (const block of body.split('\n\n')) {
    const frame: Frame = { event: '', id: '', data: '' }
    for (const line of block.split('\n')) {
      const colon = line.indexOf(': ')
      const name = line.slice(0, colon)
      if (name === 'event' || name === 'id' || name === 'data') frame[name] = line.slice(colon + 2)
    }
    if (frame.data !== '') frames.push(frame)
  }
  return frames
}
