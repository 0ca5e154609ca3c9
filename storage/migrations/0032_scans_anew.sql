-- What our own scanner called clear before it asked at other speeds, and of fingerprints that are none any more, is
-- unscanned: the sweep begins as many scans as it always does, and AuDD is not asked again. What is flagged stays.

delete from copyright_scan where asked = '{plyr}' and not is_flagged;
update copyright_scan set asked = array_remove(asked, 'plyr'), updated_at = now()
where 'plyr' = any(asked) and not is_flagged;
