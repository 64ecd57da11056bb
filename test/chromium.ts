// The browser of the machine, if it has one.
import { type Browser, chromium } from 'playwright-core'
import type { Test } from 'tap'

const executablePath = process.env.MCP_TEST_CHROMIUM
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'
]

/** What a test that needs the browser takes as its options. */
export const inChromium = { skip: executablePath ? false as const : 'chromium is not on this machine' }

export async function launchChromium (t: Test): Promise<Browser> {
  const browser = await chromium.launch({ executablePath, args: FLAGS })
  t.teardown(() => browser.close())
  return browser
}
