// Starts the app that the first argument names, and says what that took.
import { ready } from './control.ts'

const apps = {
  plain: async () => await import('./plain-app.ts'),
  imports: async () => await import('./imports-app.ts'),
  hello: async () => await import('./hello-app.ts')
}
const [, , name] = process.argv
if (name !== 'plain' && name !== 'imports' && name !== 'hello') throw new Error(`there is no app ${name}`)

const before = process.cpuUsage()
const begin = performance.now()
const { port } = await apps[name]()
const wall = performance.now() - begin
const { user, system } = process.cpuUsage(before)
ready(port, { boot: { wall, cpu: (user + system) / 1000 } })
