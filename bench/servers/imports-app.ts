// The plain app, once everything else is loaded that the plugin imports from packages.
import '@fastify/error'
import 'ajv'
import 'ajv/dist/2020.js'
import 'fastify-plugin'
import 're2js'

export { port } from './plain-app.ts'
