// tap's runner imports this file without its TypeScript loader, hence .js.
export default () => 'lib/**/*.ts'
