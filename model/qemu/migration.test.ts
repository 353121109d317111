import { describe, expect, test } from 'vitest';
import { ParseError } from '../parse-error.ts';
import { parseMigrateCapabilities, parseMigrateStatus } from './migration.ts';

describe('query-migrate-capabilities', () => {
  test('those that are on', () => {
    const result = [
      { state: false, capability: 'xbzrle' },
      { state: true, capability: 'postcopy-ram' },
      { state: true, capability: 'multifd' },
    ];
    expect(parseMigrateCapabilities(result)).toEqual(['postcopy-ram', 'multifd']);
  });
  test.each([[null], [{}], [[{ capability: 'x' }]], [[{ capability: 3, state: true }]]])(
    '%j is refused',
    bad => {
      expect(() => parseMigrateCapabilities(bad)).toThrow(ParseError);
    },
  );
});

describe('query-migrate', () => {
  test('its status; none where nothing migrated', () => {
    expect(parseMigrateStatus({ status: 'postcopy-active', ram: {} })).toBe('postcopy-active');
    expect(parseMigrateStatus({})).toBeNull();
  });
  test.each([[null], [[]], [{ status: 1 }]])('%j is refused', bad => {
    expect(() => parseMigrateStatus(bad)).toThrow(ParseError);
  });
});
